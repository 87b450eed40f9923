"""What the roles podman_service and service_accounts do around the modules, with stand-ins for these."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import threading

import pytest
import yaml

from controller import REPOSITORY
from services import Services, table

SHIPPED = yaml.safe_load((REPOSITORY / 'roles/service_accounts/defaults/main.yml').read_text())
SPECS = yaml.safe_load((REPOSITORY / 'roles/podman_service/meta/argument_specs.yml').read_text())['argument_specs']
# What is the role's own.
OURS = {'account', 'secrets', 'validate_certs', 'evidence_dir'}
CLOSED = 'https://127.0.0.1:1/'


@pytest.fixture
def host(controller, tmp_path):
    return Services(controller, tmp_path)


@pytest.fixture
def https(tmp_path):
    """An address with a certificate that nobody knows."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=127.0.0.1', '-keyout', 'key',
                    '-out', 'certificate'], cwd=tmp_path, check=True, capture_output=True)
    server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / 'certificate', tmp_path / 'key')
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'https://127.0.0.1:{server.server_port}/'
    server.shutdown()


def asked(host, module, **of):
    """The options that a module was given by calls of this kind, without those of check mode."""
    calls = [call['given'] for call in host.calls if call['module'] == module and not call['check']]
    return [given for given in calls if of.items() <= given.items()]


def evidence(host, name):
    return host.evidence / f'{name}.json'


def test_every_variable_reaches_the_module_as_the_option_of_its_name(host, controller):
    host.define('db', names=['env'])
    values = {'name': 'db', 'from': 'shared', 'account': 'own', 'state': 'moved', 'units': ['a.container', 'b'],
              'data_directories': ['/srv/db'], 'volumes': ['vol'], 'secrets': ['env'], 'secrets_from': '/run/old',
              'secrets_to': '/run/new', 'keep_secrets': 'false', 'images': 'pull', 'unmapped': 'keep', 'ports': [5],
              'urls': ['http://127.0.0.1/'], 'validate_certs': False, 'health': False, 'check_log': False, 'timeout': 9,
              'evidence_dir': str(host.evidence)}
    assert values.keys() == {name.removeprefix('podman_service_') for name in SPECS['main']['options']}
    run = controller.play({
        'ansible.builtin.include_role': {'name': 'bulkhead.hosts.podman_service'},
        'vars': {f'podman_service_{name}': value for name, value in values.items()},
    })
    [given] = asked(host, 'podman_service', state='moved')
    assert given == {**{name: value for name, value in values.items() if name not in OURS}, 'to': 'own'}, run.output
    assert asked(host, 'dedicated_user') == [{'name': 'own', 'secrets_dir': '/run/new'}], run.output


def test_what_is_unset_follows_from_the_names(host):
    host.define('db')
    assert host.play('dedicated_users').returncode == 0
    [given] = asked(host, 'podman_service')
    assert (given['to'], given['units']) == ('db', ['db'])
    assert (given['secrets_from'], given['secrets_to']) == ('/run/secrets-shared', '/run/secrets-db')


def test_services_are_moved_one_after_the_other_with_evidence(host, https):
    host.define('db')
    host.define('web-app', account='webapp', urls=['http://127.0.0.1:80/', https])
    done = host.play('dedicated_users', podman_service_validate_certs=False)
    assert done.returncode == 0, done.stdout
    at = '2026-11-22T07:15:00Z'
    assert table(done.stdout) == {'db': ['shared', 'db', 'moved', at], 'web-app': ['shared', 'webapp', 'moved', at]}
    assert [given['urls'] for given in asked(host, 'podman_service')] == [[], ['http://127.0.0.1:80/']]
    kept = json.loads(evidence(host, 'web-app').read_text())
    assert (kept['service'], kept['host'], kept['from']['name'], kept['to']['name']) == ('web-app', 'target', 'shared', 'webapp')
    assert kept['verified'] == {'at': at, 'by': ['web-app.service is active', f'{https} answers 200']}
    assert evidence(host, 'db').stat().st_mode & 0o777 == 0o600 and host.evidence.stat().st_mode & 0o777 == 0o700


def test_a_second_run_changes_nothing_and_keeps_the_evidence_of_the_first(host):
    host.define('db')
    host.play('dedicated_users')
    evidence(host, 'db').write_text('of then')
    done = host.play('dedicated_users')
    assert done.returncode == 0 and 'changed=0' in done.stdout, done.stdout
    assert table(done.stdout)['db'][2] == 'as it was' and evidence(host, 'db').read_text() == 'of then'


def test_the_first_that_fails_is_the_last(host):
    host.account('own')
    host.define('one')
    host.define('two', refused='a file has the id 4711')
    host.define('three')
    done = host.play('dedicated_users')
    assert done.returncode == 2 and 'two: refused, nothing was changed: a file has the id 4711' in done.stdout, done.stdout
    assert [row[2] for row in table(done.stdout).values()] == ['moved', 'FAILED', 'not begun']
    assert host.accounts == ['one', 'own']
    assert [host.runs_as(name) for name in ('one', 'two', 'three')] == ['one', 'shared', 'shared']


@pytest.mark.parametrize(('variables', 'reads'), [
    ({'urls': [CLOSED]}, 'Connection refused'),
    ({'secrets': ['env', 'other']}, 'No unit of db names /run/secrets-db/other'),
], ids=['address', 'secret'])
def test_what_fails_after_the_move_takes_it_back(host, variables, reads):
    host.define('db', names=['env'], **variables)
    done = host.play('dedicated_users')
    said = done.stdout.partition('TASK [bulkhead.hosts.podman_service : The reason is told]')[2]
    assert done.returncode == 2 and 'db was taken back to shared: ' in said and reads in said, done.stdout
    assert host.runs_as('db') == 'shared' and host.accounts == []
    assert asked(host, 'dedicated_user', state='absent')[0]['remove_home'] is True
    assert not evidence(host, 'db').exists()


def test_an_account_from_before_stays_when_its_service_is_taken_back(host):
    host.account('db')
    host.define('db', urls=[CLOSED])
    assert host.play('dedicated_users').returncode == 2
    assert host.runs_as('db') == 'shared' and host.accounts == ['db']


def test_a_service_of_an_earlier_run_is_not_taken_back(host):
    host.account('db')
    host.define('db', runs_as='db', urls=[CLOSED])
    done = host.play('dedicated_users')
    assert done.returncode == 2 and '"db: ' in done.stdout, done.stdout
    assert host.runs_as('db') == 'db' and asked(host, 'podman_service', state='returned') == []


def test_a_certificate_that_nobody_knows_does_not_pass(host, https):
    host.define('db', urls=[https])
    done = host.play('dedicated_users')
    assert done.returncode == 2 and 'CERTIFICATE_VERIFY_FAILED' in done.stdout, done.stdout


def test_a_service_goes_back_with_its_evidence_and_leaves_the_others(host):
    host.define('db')
    host.define('web')
    host.play('dedicated_users')
    done = host.play('dedicated_users_rollback', service_accounts_only='web')
    assert done.returncode == 0, done.stdout
    assert table(done.stdout) == {'web': ['shared', 'web', 'returned', '-']}
    assert (host.runs_as('db'), host.runs_as('web')) == ('db', 'shared')
    assert evidence(host, 'db').exists() and not evidence(host, 'web').exists()


def test_nothing_goes_back_that_is_not_named(host):
    host.define('db')
    done = host.play('dedicated_users_rollback')
    assert done.returncode == 2 and 'Say which services' in done.stdout and host.calls == []


@pytest.mark.parametrize('only', ['web,db', 'web, db', ['db', 'web']])
def test_only_those_that_are_named_are_moved_in_the_order_of_the_list(host, only):
    for name in ('db', 'mail', 'web'):
        host.define(name)
    assert host.play('dedicated_users', service_accounts_only=only).returncode == 0
    assert [given['name'] for given in asked(host, 'podman_service')] == ['db', 'web']


def test_a_name_that_is_on_no_list_is_refused(host):
    host.define('db')
    done = host.play('dedicated_users', service_accounts_only='dp')
    assert done.returncode == 2 and 'There is no service dp, only db.' in done.stdout and host.calls == []


@pytest.mark.parametrize('excluded', [('monica', 'monica-app'), ('', 'budget-board')], ids=['pod', 'container'])
def test_what_is_excluded_has_to_be_left_alone(host, excluded):
    host.root_runs(excluded, ('', 'another'))
    host.define('db')
    done = host.play('dedicated_users')
    assert done.returncode == 0 and "1 containers of root's were left alone" in done.stdout, done.stdout
    host.define('meddler', meddles=True)
    done = host.play('dedicated_users')
    assert done.returncode == 2 and "are not the ones from before" in done.stdout, done.stdout
    assert f'{excluded[1]} id of {excluded[1]} 1795347999' in done.stdout and 'another' not in done.stdout


def test_check_mode_changes_nothing(host):
    host.account('there')
    host.define('there')
    host.define('missing')
    done = host.play('dedicated_users', '--check')
    assert done.returncode == 0, done.stdout
    assert [row[2] for row in table(done.stdout).values()] == ['would be moved', 'no account yet']
    assert all(call['check'] for call in host.calls) and host.accounts == ['there'] and not host.evidence.exists()


def test_the_shipped_services_are_those_of_the_guide(host):
    done = host.play('dedicated_users', '--check', service_accounts_services=None)
    assert done.returncode == 0, done.stdout
    rows = {name: row[:2] for name, row in table(done.stdout).items()}
    of_db = ['litellm', 'metabase', 'mindsdb', 'nocobase', 'vanna', 'wallabag', 'teable']
    exporters = ['opnsense-exporter', 'technitium-dns-exporter']
    assert rows == {
        **{name: ['container-db', name] for name in of_db}, 'silly-tavern': ['container-web', 'sillytavern'],
        **{name: ['container-monitor', name] for name in exporters},
        **{name: ['container-misc', name] for name in ('openspeedtest', 'paperless-ai')},
    }


def test_the_shipped_services_have_what_the_guide_says():
    listed = {service['name']: service for service in SHIPPED['service_accounts_services']}
    data = {name for name, service in listed.items() if service.get('data_directories') == [f'/var/lib/{name}']}
    assert data == {'litellm', 'metabase', 'mindsdb', 'nocobase', 'vanna', 'wallabag', 'teable', 'silly-tavern'}
    assert {name: service['ports'] for name, service in listed.items() if 'ports' in service} == {
        'opnsense-exporter': [9273], 'technitium-dns-exporter': [9274]}
    assert listed['openspeedtest']['units'] == ['speedtest']
    urls = [url for service in listed.values() for url in service['urls']]
    assert len(urls) == 12 and sum(url.endswith('.vulcan.lan') for url in urls) == 10
    assert {name for name, service in listed.items() if 'secrets' not in service} == {
        'silly-tavern', 'openspeedtest', 'paperless-ai'}
    assert SHIPPED['service_accounts_excluded'] == ['monica', 'budget-board']


@pytest.mark.parametrize('wrong', [{'port': [1]}, {'ports': ['x']}, {'from': None}], ids=['unknown', 'type', 'missing'])
def test_a_service_that_is_not_described_right_is_refused(host, wrong):
    host.define('db', **wrong)
    if wrong.get('from', '') is None:
        del host.list[0]['from']
    done = host.play('dedicated_users')
    assert done.returncode == 2 and 'service_accounts_services' in done.stdout and host.calls == [], done.stdout
