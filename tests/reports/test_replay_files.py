"""Files of a replay: names that any file system takes, and errors that name the file."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from stoker.errors import InputError
from stoker.reports.replay_files import figures, write_figures, write_page


def test_each_figure_is_written_as_svg_and_png(tmp_path, replay_document):
    written = write_figures(replay_document(), tmp_path / "new" / "figures")
    assert len(written) == 2 * 3  # two timelines and the comparison
    for path in written:
        if path.suffix == ".svg":
            assert ET.parse(path).getroot().get("viewBox")  # noqa: S314 - our own text
        else:
            assert path.read_bytes().startswith(b"\x89PNG")


def test_names_of_files_are_safe_and_differ(replay_document, replay_run):
    runs = [replay_run("../../etc/passwd x"), replay_run("../../etc/passwd y"), replay_run("a/b")]
    names = [figure.name for figure in figures(replay_document(runs=[*runs, runs[2]]))]
    assert names == [
        "timeline-..-..-etc-passwd-x",
        "timeline-..-..-etc-passwd-y",
        "timeline-a-b",
        "timeline-a-b-2",
        "pareto",
    ]


def test_without_an_slo_there_is_nothing_to_compare(replay_document, replay_run):
    runs = [replay_run("a", share=None), replay_run("b", share=None)]
    assert [figure.name for figure in figures(replay_document(runs=runs))] == [
        "timeline-a",
        "timeline-b",
    ]


def test_a_place_that_cannot_be_written_is_named(tmp_path, replay_document):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as error:
        write_page(replay_document(), tmp_path / "none" / "page.html")
    assert error.value.place.file.endswith("page.html")
    with pytest.raises(InputError):
        write_figures(replay_document(), tmp_path / "file")
