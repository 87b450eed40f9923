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
ONE_WAY = {'account': ['enabled']}


@pytest.fixture(scope='module')
def collected():
    return faults_table.collect(faults_table.TESTS)


def test_the_page_of_faults_is_made_from_the_tests(collected):
    text = faults_table.PAGE.read_text(encoding='utf-8')
    assert text == faults_table.page(text, faults_table.tables(faults_table.rows(collected)))


def test_every_step_is_killed_both_ways_on_every_engine(collected):
    steps = re.findall(r'Step::\w+.*=> "(\w+)",', STEPS.read_text(encoding='utf-8'))
    assert len(steps) >= 17
    kills = {item.callspec.id for item in collected if re.match('test_a_killed_change.*by_hand', item.originalname)}
    wanted = {f'{host}-{state}-done:{step}' for host in ('debian12', 'debian13') for step in steps
              for state in ONE_WAY.get(step, ['enabled', 'disabled'])}
    assert sorted(wanted - kills) == []
