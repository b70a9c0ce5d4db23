"""Invented traffic, told in one line: ``diurnal(base=2,peak=16,period=1h) + bursts(rate=20)``."""

from stoker.traces.synthetic.lengths import Lengths, parse_lengths
from stoker.traces.synthetic.process import Synthetic, parse

__all__ = ["Lengths", "Synthetic", "parse", "parse_lengths"]
