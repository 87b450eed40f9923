"""The documentation stubs say what the executables do."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible.module_utils import basic
from controller import MACHINE, REPOSITORY

STUBS = sorted((REPOSITORY / 'plugins' / 'modules').glob('*.py'))


def load(stub: Path):
    description = importlib.util.spec_from_file_location(stub.stem, stub)
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def specification_of(stub: Path, monkeypatch) -> dict:
    """The keyword arguments that the stub gives to AnsibleModule, as JSON has them."""

    class Given(Exception):
        pass

    def give(**keywords):
        raise Given(json.dumps(keywords))

    monkeypatch.setattr(basic, 'AnsibleModule', give)
    with pytest.raises(Given) as given:
        load(stub).main()
    return json.loads(str(given.value))


@pytest.mark.parametrize('stub', STUBS, ids=lambda stub: stub.stem)
def test_the_argument_specification_is_the_executables(stub, monkeypatch):
    executable = REPOSITORY / 'plugins' / 'module_bin' / MACHINE / stub.stem
    assert executable.exists(), 'run "make build" first'
    done = subprocess.run(
        [executable, '--argument-spec'], check=True, capture_output=True, timeout=10
    )
    assert specification_of(stub, monkeypatch) == json.loads(done.stdout)


@pytest.mark.parametrize('stub', STUBS, ids=lambda stub: stub.stem)
def test_the_documentation_is_of_the_argument_specification(stub, monkeypatch):
    def shape(options: dict, nested: str) -> dict:
        return {
            name: {
                **{
                    key: option.get(key)
                    for key in ('type', 'elements', 'default', 'choices', 'aliases')
                },
                'required': option.get('required', False),
                'options': shape(option.get(nested) or {}, nested),
            }
            for name, option in options.items()
        }

    documented = yaml.safe_load(load(stub).DOCUMENTATION)['options']
    specified = specification_of(stub, monkeypatch)['argument_spec']
    assert shape(documented, 'suboptions') == shape(specified, 'options')


@pytest.mark.parametrize('stub', STUBS, ids=lambda stub: stub.stem)
def test_there_is_an_action_plugin_and_an_action_group_for_it(stub):
    assert (REPOSITORY / 'plugins' / 'action' / stub.name).exists()
    runtime = yaml.safe_load((REPOSITORY / 'meta' / 'runtime.yml').read_text())
    assert stub.stem in runtime['action_groups']['bulkhead']


@pytest.mark.parametrize('stub', STUBS, ids=lambda stub: stub.stem)
@pytest.mark.parametrize('prefix', ['', 'bulkhead.hosts.'], ids=['short', 'full'])
def test_ansible_doc_shows_it_from_the_checkout(stub, prefix):
    done = subprocess.run(
        [Path(sys.executable).with_name('ansible-doc'), f'{prefix}{stub.stem}'],
        cwd=REPOSITORY, env={**os.environ, 'PAGER': 'cat', 'ANSIBLE_CONFIG': 'ansible.cfg'},
        text=True, capture_output=True, timeout=60, check=True,
    )
    text = ' '.join(done.stdout.split())
    described = yaml.safe_load(load(stub).DOCUMENTATION)
    assert described['description'][1].split(',')[0] in text
    assert all(option in text for option in described['options'])
