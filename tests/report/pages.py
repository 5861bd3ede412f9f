"""Pages and surveys to test, made as the commands make them."""

from functools import lru_cache

import mapengine
from mapengine.api import Job, prove, survey, survey_example
from mapengine.report.page.building import page_html


def example_survey(name, layout=None, reverse=False):
    """What the mapping's example comes to."""
    job = Job(name, "", layout="+".join(sorted(layout)) if layout else None, reverse=reverse)
    return survey_example(job)


def example_page(name, **options):
    return page_html(example_survey(name, **options), _notes(name))


@lru_cache
def _notes(name):
    return prove(name).notes


def page_of(mapping, source, **options):
    return page_html(survey(Job(mapping, source, **options)))


def shipped():
    return list(mapengine.shipped_mappings())


def spelled_out(surveys):
    """Every step as the page's script must spell it out: keys, specs and files of both sides."""
    return [
        {
            "taken": [_taken(one, address) for address in step.sources.members],
            "made": [_made(one, address) for address in step.targets.members],
        }
        for one in surveys
        for rule in one.binding.mapping.rules
        for step in one.by_rule.get(rule.path, ())
    ]


def _taken(one, address):
    spec, file = one.binding.tensors[address].spec, one.read_from[address]
    return _tensor(address, one.binding.ranks, spec, file)


def _made(one, address):
    file, planned = one.written[address]
    return _tensor(address, one.binding.written_ranks, planned.spec, file)


def _tensor(address, ranks, spec, file):
    key, rank = address
    named = [[name, str(value)] for name, value in zip(ranks, rank, strict=True)]
    shape = list(spec.shape)
    return {
        "key": key, "rank": named, "dtype": spec.dtype, "shape": shape, "nbytes": spec.nbytes,
        "file": file,
    }  # fmt: skip
