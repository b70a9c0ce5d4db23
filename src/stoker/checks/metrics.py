"""Which metrics exist: vLLM 0.32 and the router of production-stack, and what they were called.

Base names, without the ``_bucket``, ``_sum``, ``_count`` and ``_created`` of the exposition.
"""

from __future__ import annotations

import difflib
import re

PREFIX = "vllm:"
_SUFFIX = re.compile(r"_(bucket|sum|count|created)$")


def _names(text: str) -> frozenset[str]:
    return frozenset(PREFIX + name for name in text.split())


ENGINE = _names("""
    admission_rejections_total cache_config_info e2e_request_latency_seconds engine_sleep_state
    estimated_flops_per_gpu_total estimated_read_bytes_per_gpu_total
    estimated_write_bytes_per_gpu_total external_prefix_cache_hits_total
    external_prefix_cache_queries_total generation_tokens_total inter_token_latency_seconds
    iteration_tokens_total kv_block_idle_before_evict_seconds kv_block_lifetime_seconds
    kv_block_reuse_gap_seconds kv_cache_usage_perc lora_requests_info mm_cache_hits_total
    mm_cache_queries_total num_preemptions_total num_requests_kv_fetch_by_stage
    num_requests_running num_requests_waiting num_requests_waiting_by_reason prefix_cache_hits_total
    prefix_cache_queries_total prompt_tokens_by_source_total prompt_tokens_cached_by_source_total
    prompt_tokens_cached_total prompt_tokens_total request_decode_time_seconds
    request_generation_tokens request_inference_time_seconds request_max_num_generation_tokens
    request_num_preemptions request_params_max_tokens request_params_n
    request_prefill_kv_computed_tokens request_prefill_time_seconds request_prompt_tokens
    request_queue_time_seconds request_success_total request_time_per_output_token_seconds
    sleep_mode_operation_duration_seconds sleep_mode_operations_in_flight
    spec_decode_num_accepted_tokens_per_pos_total spec_decode_num_accepted_tokens_total
    spec_decode_num_draft_tokens_total spec_decode_num_drafts_total time_to_first_token_seconds
""")

GAUGES = _names("""
    engine_sleep_state kv_cache_usage_perc lora_requests_info num_requests_kv_fetch_by_stage
    num_requests_running num_requests_waiting num_requests_waiting_by_reason
    sleep_mode_operations_in_flight
""")
COUNTERS = frozenset(name for name in ENGINE if name.endswith("_total")) - _names(
    "iteration_tokens_total"  # a histogram in spite of its name
)

# Only the router has these, and it has them while no engine runs. Their label is `model`.
ROUTER_TRAFFIC = _names("num_incoming_requests_total")
ROUTER = ROUTER_TRAFFIC | _names("""
    avg_decoding_length avg_itl avg_latency current_qps gpu_prefix_cache_hit_rate
    gpu_prefix_cache_hits_total gpu_prefix_cache_queries_total healthy_pods_total input_tokens_total
    num_decoding_requests num_prefill_requests num_requests_swapped output_tokens_total
    request_errors_total request_latency_seconds
""")
# Both have these: the router's series say `server` and not `model_name`.
ENGINE_AND_ROUTER = _names("num_requests_running num_requests_waiting")
WITH_MODEL_LABEL = _names("""
    input_tokens_total num_incoming_requests_total output_tokens_total request_errors_total
    request_latency_seconds
""")
WITHOUT_MODEL_NAME = _names("""
    cache_config_info sleep_mode_operation_duration_seconds sleep_mode_operations_in_flight
    lora_requests_info
""")

# Gone by vLLM 0.15, most of them since 0.12. None: without a successor.
RENAMED: dict[str, str | None] = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:cpu_cache_usage_perc": None,
    "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_queries": "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits": "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hit_rate": None,
    "vllm:cpu_prefix_cache_hit_rate": None,
    "vllm:time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
    "vllm:num_requests_swapped": None,
    "vllm:time_in_queue_requests": "vllm:request_queue_time_seconds",
    "vllm:model_forward_time_milliseconds": None,
    "vllm:model_execute_time_milliseconds": None,
    "vllm:avg_prompt_throughput_toks_per_s": "rate(vllm:prompt_tokens_total[1m])",
    "vllm:avg_generation_throughput_toks_per_s": "rate(vllm:generation_tokens_total[1m])",
    "vllm:spec_decode_draft_acceptance_rate": None,
    "vllm:spec_decode_efficiency": None,
}


def base(name: str) -> str:
    """Without the suffix of a histogram's series."""
    return name if name in ENGINE | ROUTER else _SUFFIX.sub("", name)


def is_known(name: str) -> bool:
    """Whether an engine or the router exports it, or whether it is nobody's business here."""
    return not name.startswith(PREFIX) or base(name) in ENGINE | ROUTER


def near(name: str) -> str | None:
    """The known name that was probably meant."""
    plain = base(name.replace("vllm:vllm:", "vllm:"))
    if plain in ENGINE | ROUTER:
        return plain
    if plain + "_total" in ENGINE | ROUTER:
        return plain + "_total"
    found = difflib.get_close_matches(plain, sorted(ENGINE | ROUTER), n=1, cutoff=0.8)
    return found[0] if found else None
