"""For CI servers that show test results: JUnit XML, a suite for each file."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from mapengine.errors import Problem, printable
from mapengine.report.findings.findings import Checked, Findings, on_one_line, sentence
from mapengine.report.problems import problem_text
from mapengine.report.proofs import note_text


def junit(findings: Findings) -> str:
    suites = Xml.Element("testsuites", name="mapengine")
    for checked in findings.files:
        _add_suite(suites, checked, findings.counted(checked))
    Xml.indent(suites)
    return f"{Xml.tostring(suites, encoding='unicode', xml_declaration=True)}\n"


def _add_suite(suites: Xml.Element, checked: Checked, counted: tuple[Problem, ...]) -> None:
    """A test for each problem; one that passes where there is none."""
    failures = str(len(counted))
    name = on_one_line(checked.file)
    tests = str(max(len(counted), 1))
    suite = Xml.SubElement(
        suites, "testsuite", name=name, tests=tests, failures=failures, errors="0"
    )
    for problem in counted:
        place = f" {problem.where.line}:{problem.where.column}" if problem.where else ""
        case = Xml.SubElement(
            suite, "testcase", name=f"{problem.code}{place}", classname=name, file=name
        )
        if problem.where:
            case.set("line", str(problem.where.line))
        message = on_one_line(sentence(problem))
        failure = Xml.SubElement(case, "failure", type=problem.code, message=message)
        failure.text = problem_text(problem)
    if not counted:
        case = Xml.SubElement(suite, "testcase", name="good", classname=name, file=name)
        if checked.notes:
            told = "\n".join(map(note_text, checked.notes))
            Xml.SubElement(case, "system-out").text = printable(told)
