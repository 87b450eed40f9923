"""The page of faults and the kills keep up with the tests and the code."""

from __future__ import annotations

import re
import sys

import pytest

from controller import REPOSITORY

sys.path.insert(0, str(REPOSITORY / 'tests' / 'tools'))
import faults_table  # noqa: E402

STEPS = REPOSITORY / 'crates' / 'userns_remap' / 'src' / 'step.rs'
# Steps that only one direction has.
ONE_WAY = {'account': ['enabled'], 'copy_layers': ['enabled'], 'copy_rest': ['enabled'], 'use_copy': ['enabled'],
           'set_root_aside': ['enabled'], 'set_aside': ['disabled']}
# The compose of Debian 12 has no word for it.
ONE_ENGINE = {'set_sysctls': ['debian13']}
# In the names of cases, as pytest knows them: the host, which way the change went, and where it was cut off.
KILL = re.compile(r'(debian1[23])-(enabled|disabled|discard|both)-(?:applied|done):(\w+)')
WAYS = {'enabled': ['enabled'], 'disabled': ['disabled'], 'discard': ['disabled'], 'both': ['enabled', 'disabled']}


@pytest.fixture(scope='module')
def collected():
    return faults_table.collect(faults_table.ENGINE_TESTS)


def test_the_page_of_faults_is_made_from_the_tests():
    text = faults_table.PAGE.read_text(encoding='utf-8')
    assert text == faults_table.page(text, faults_table.tables())


def test_every_step_is_killed_both_ways_on_every_engine(collected):
    steps = re.findall(r'Step::\w+.*=> "(\w+)",', STEPS.read_text(encoding='utf-8'))
    assert len(steps) >= 17
    of_kills = [test['case'] for test in collected if '_kill' in test['test']]
    cases = [case.groups() for case in map(KILL.search, of_kills) if case]
    kills = {(host, way, step) for host, named, step in cases for way in WAYS[named]}
    wanted = {(host, way, step) for step in steps for host in ONE_ENGINE.get(step, ['debian12', 'debian13'])
              for way in ONE_WAY.get(step, ['enabled', 'disabled'])}
    assert sorted(wanted - kills) == []
