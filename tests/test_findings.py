"""The formats of `validate`: each tells all, each keeps to the limits of its reader."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from jsonschema import Draft4Validator

from mapengine.cli import cli
from mapengine.errors import Problem, Where
from mapengine.report.findings import FORMATS, Checked, Findings, github_summary

ROOT = Path(__file__).parent.parent
SARIF = ROOT / "build/editor/node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"
MAPPING = (ROOT / "tests" / "cases" / "slips" / "shape_without_a_list.yaml").read_text()
GOOD = MAPPING.replace("shape: hidden", "shape: [hidden]")
PLAIN = GOOD.replace("{layer}", "x").replace("dims: {layer: layers}\n", "")


def problems(count, code="ME301"):
    return tuple(
        Problem(code, f"wrong {n}", Where("m.yaml", n, 3, 2), f"rules[{n}]", f"cure {n}")
        for n in range(1, count + 1)
    )


def findings(*told, notes=(), strict=False):
    return Findings((Checked("m.yaml", told, notes),), strict)


HOSTILE = Problem(
    "ME301",
    "red \x1b[31m bell \x07 two\nlines, 100% :: ]]> <b> | `x` \u202e \ud800",
    Where("a\x1b,b:\n%.yaml", 2, 1),
    "rules[0]",
    "no\x00 cure",
)


# -- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_tells_every_problem_with_its_code_and_place(name):
    text = FORMATS[name](findings(*problems(3)))
    for n in (1, 2, 3):
        assert f"wrong {n}" in text and re.search(rf'm.yaml:{n}:3|[lL]ine"?[=:] ?"?{n}\b', text)
    assert "ME301" in text


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_lets_a_control_character_through(name):
    found = findings(HOSTILE, notes=(HOSTILE,))
    for text in (FORMATS[name](found), github_summary(found)):
        assert [c for c in text if not c.isprintable() and c != "\n"] == []
        text.encode()


@pytest.mark.parametrize("name", FORMATS)
def test_strict_makes_problems_of_notes(name):
    notes = problems(1, "ME334")
    lax, strict = findings(notes=notes), findings(notes=notes, strict=True)
    assert (lax.count, strict.count) == (0, 1)
    assert "wrong 1" in FORMATS[name](lax) and "wrong 1" in FORMATS[name](strict)


# -- each of them ---------------------------------------------------------------------------------


def test_concise_is_a_line_for_each():
    text = FORMATS["concise"](findings(*problems(2), HOSTILE))
    assert text.splitlines()[:2] == [
        "m.yaml:1:3: ME301 rules[1]: wrong 1",
        "m.yaml:2:3: ME301 rules[2]: wrong 2",
    ]
    assert len(text.splitlines()) == 3


def annotations(text):
    return [line for line in text.splitlines() if line.startswith("::")]


def test_github_has_an_annotation_at_each_place():
    (line,) = annotations(FORMATS["github"](findings(*problems(1))))
    path = (Path.cwd() / "m.yaml").relative_to(ROOT) if ROOT in Path.cwd().parents else "m.yaml"
    assert line == (
        f"::error title=ME301,file={path},line=1,endLine=1,col=3,endColumn=5::"
        "rules[1]: wrong 1%0Acure 1"
    )


@pytest.mark.parametrize("count, shown", [(9, 9), (10, 10), (11, 9), (40, 9)])
def test_github_shows_ten_of_a_kind_or_nine_and_how_many_more(count, shown):
    found = findings(*problems(count), notes=problems(count, "ME334"))
    lines = annotations(FORMATS["github"](found))
    for kind in ("::error", "::notice"):
        of_kind = [line for line in lines if line.startswith(kind)]
        assert sum(" title=" in line for line in of_kind) == shown
        more = [line for line in of_kind if "more:" in line]
        assert [f"and {count - shown} more" in line for line in more] == [True] * (count > shown)
    assert github_summary(found).count("\n| ") == 2 * count + 1


def test_github_escapes_what_would_end_a_command():
    (line,) = annotations(FORMATS["github"](findings(HOSTILE)))
    head, _, message = line.removeprefix("::error ").partition("::")
    assert "%2C" in head and "%3A" in head and head.count("title=") == 1
    assert "two%0Alines, 100%25 ::" in message


def test_the_summary_of_a_step_keeps_to_what_it_may_be_long():
    long = Problem("ME301", "x" * 10_000)
    text = github_summary(findings(*[long] * 300))
    assert 900_000 < len(text.encode()) <= 1 << 20
    assert text.endswith("and more, which the summary has no room for\n")


def results(text):
    (run,) = json.loads(text)["runs"]
    return run["results"]


def sarif_of(path):
    shown = CliRunner().invoke(cli, ["validate", str(path), "--format", "sarif"])
    return results(shown.output)


def test_sarif_names_files_from_the_root_of_the_repository(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "my mappings").mkdir()
    (tmp_path / "my mappings" / "demo.yaml").write_text(MAPPING)
    monkeypatch.chdir(tmp_path / "my mappings")
    (result,) = sarif_of("demo.yaml")
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "my%20mappings/demo.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 11, "startColumn": 37, "endColumn": 43},
    }
    assert location["logicalLocations"] == [{"fullyQualifiedName": "rules[0].shape"}]
    assert (result["ruleId"], result["level"]) == ("ME204", "error")


def test_sarif_fingerprints_stay_when_lines_move_and_differ_otherwise(tmp_path):
    mapping = tmp_path / "demo.yaml"
    prints = []
    for text in (MAPPING, MAPPING.replace("tensors:", "# moved\n\ntensors:")):
        mapping.write_text(text)
        prints.append([result["partialFingerprints"] for result in sarif_of(mapping)])
    assert prints[0] == prints[1] and len(prints[0]) == 1
    same = problems(1) * 2
    told = results(FORMATS["sarif"](findings(*same, *problems(2)[1:])))
    assert len({json.dumps(result["partialFingerprints"]) for result in told}) == 3


def test_sarif_has_a_rule_for_each_code_that_is_found():
    text = FORMATS["sarif"](findings(*problems(2), *problems(1, "ME204")))
    (run,) = json.loads(text)["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["ME204", "ME301"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [
        result["ruleId"] for result in run["results"]
    ]


@pytest.mark.skipif(not SARIF.is_file(), reason="the schema of SARIF is not there: see .ci/run")
@pytest.mark.parametrize("strict", [False, True])
def test_sarif_is_what_its_schema_says(strict):
    bare = Problem("ME107", "there is no mapping")
    found = findings(*problems(2), HOSTILE, bare, notes=problems(1, "ME334"), strict=strict)
    validator = Draft4Validator(json.loads(SARIF.read_text()))
    for told in (found, findings()):
        assert list(validator.iter_errors(json.loads(FORMATS["sarif"](told)))) == []


def test_junit_is_a_suite_for_each_file_and_a_test_for_each_problem():
    two = Findings((Checked("a.yaml", problems(2)), Checked("b.yaml", (), problems(1, "ME334"))))
    bad, good = ElementTree.fromstring(FORMATS["junit"](two))
    assert (bad.attrib["tests"], bad.attrib["failures"], len(bad)) == ("2", "2", 2)
    assert bad[1].find("failure").attrib == {"type": "ME301", "message": "rules[2]: wrong 2"}
    assert (good.attrib["tests"], good.attrib["failures"]) == ("1", "0")
    assert "ME334" in good[0].find("system-out").text


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, options, code",
    [
        (GOOD, [], 0),
        (MAPPING, [], 1),
        (MAPPING, ["--exit-zero"], 0),
        (GOOD.replace("example", "  - c -> d: {shape: [hidden]}\nexample"), [], 0),
        (GOOD.replace("example", "  - c -> d: {shape: [hidden]}\nexample"), ["--strict"], 1),
        (PLAIN, ["--strict", "--prove"], 0),
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_the_exit_code_is_the_same_in_every_format(text, options, code, name, tmp_path):
    (tmp_path / "demo.yaml").write_text(text)
    words = ["validate", str(tmp_path), "--format", name, *options]
    assert CliRunner().invoke(cli, words).exit_code == code


def test_github_writes_the_summary_of_the_step(tmp_path):
    (tmp_path / "demo.yaml").write_text(MAPPING)
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    words = ["validate", str(tmp_path / "demo.yaml"), "--format", "github"]
    CliRunner(env={"GITHUB_STEP_SUMMARY": str(page)}).invoke(cli, words)
    assert page.read_text().startswith("before\n### mapengine: 1 problem in 1 of 1 file\n")
    assert "ME204" in page.read_text()
