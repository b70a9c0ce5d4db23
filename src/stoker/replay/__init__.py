"""Recorded traffic through the files of the field, in virtual time.

The same storage, PromQL, polls, syncs and decisions as in a live run; engines and gateway are the
compiled fleet of :mod:`stoker.simulator.fleet`. :mod:`.setup` says what a run is given,
:mod:`.pods` how replicas live, :mod:`.exposition` what is scraped of them, :mod:`.run` walks
through time, :mod:`.outcome` has what came of it.
"""
