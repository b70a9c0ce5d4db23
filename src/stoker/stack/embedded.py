"""How triggers ask the embedded storage, and what step 1 says of it."""

from __future__ import annotations

from stoker.metrics.sample import Matcher
from stoker.metrics.storage import Storage
from stoker.promql import instant
from stoker.promql.value import api_data
from stoker.resources.workload import Workload
from stoker.stack.scraping import engine_service
from stoker.tick import Samples
from stoker.triggers.base import QueryAnswer, QueryFunction


def embedded_query(storage: Storage) -> QueryFunction:
    """Answers as the HTTP API would, without the HTTP."""

    async def ask(query: str, at: float) -> QueryAnswer:
        data = api_data(instant(query, storage, at))
        return QueryAnswer(data["resultType"], data["result"])

    return ask


def samples_of(storage: Storage, workload: Workload, now: float) -> Samples:
    """What was scraped of *workload*: replicas, series, and how long ago."""
    mine = Matcher.equal("job", engine_service(workload))
    newest = storage.newest((mine,))
    return Samples(
        replicas_scraped=storage.series_count((mine, Matcher.equal("__name__", "up"))),
        series=storage.series_count((mine,)),
        newest_age=None if newest is None else max(now - newest, 0.0),
    )
