"Drawn photos, and a small model trained on them by the command that people use"
import os, pickle, shutil, subprocess, sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from filelock import FileLock

from made import changed_settings, root
from sneaker_classifier.files import usable_cores
from sneaker_classifier.samples import make_samples

# The tests talk to this machine alone, which no proxy leads to.
os.environ['no_proxy'] = '*'
# Trainings of several test processes would wait for each other's threads.
if workers := int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 0)):
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, usable_cores()//workers)))


def pytest_xdist_auto_num_workers():
    "One process more than there are cores, since many tests wait for a browser or for another process"
    return usable_cores()+1

# Begun last, each of these would keep one process busy while the others have nothing left.
longest = ['notebook_runs[10_train]', 'test_scale', 'notebook_runs[13_update]', 'test_web', 'test_commands']

def pytest_collection_modifyitems(items):
    "What tests of one file share is made once, by one process; notebooks have nothing to share"
    for o in items:
        if o.path.stem!='test_project': o.add_marker(pytest.mark.xdist_group(o.path.stem))
    items.sort(key=lambda o: next((i for i,name in enumerate(longest) if name in o.nodeid), len(longest)))


def absent(what):
    "Skip a test for want of `what`; where the variable CI is set, nothing may be wanting"
    if os.environ.get('CI'): pytest.fail(f'{what} is not on this machine')
    pytest.skip(f'{what} is not on this machine', allow_module_level=True)

def needs(module):
    "A module that not every machine has"
    try: return import_module(module)
    except ImportError as e: absent(f'{module} ({e})')


@pytest.fixture(scope='module')
def browser():
    "Chromium, Chrome or Edge: from the system, or from `playwright install chromium`"
    api = needs('playwright.sync_api')
    flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
    found = map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))
    ways = [*(dict(executable_path=o) for o in found if o), {}, dict(channel='chrome'), dict(channel='msedge')]
    with api.sync_playwright() as p:
        for way in ways:
            with suppress(api.Error):
                browser = p.chromium.launch(**way, args=flags)
                browser.how = dict(way, args=flags)
                break
        else: absent('Chromium')
        yield browser
        browser.close()


def command(name, *args, cwd=root, ok=True):
    "Run a console command as a person would; `ok` is whether it should succeed"
    exe = Path(sys.executable).with_name(f'sneaker-{name}')
    # Progress bars and accents must survive a console of any encoding.
    env = dict(os.environ, PYTHONIOENCODING='utf-8')
    done = subprocess.run([exe, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, encoding='utf-8')
    assert (done.returncode==0)==ok, f'{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}'
    assert 'Traceback' not in done.stderr, done.stderr
    return done


@pytest.fixture(scope='session')
def shared(tmp_path_factory, worker_id):
    "A folder that all test processes share"
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id=='master' else base.parent)/'shared'
    folder.mkdir(exist_ok=True)
    return folder

def once(path, make):
    "What `make` gave, in whichever test process came first"
    with FileLock(f'{path}.lock'):
        if not path.exists(): path.write_bytes(pickle.dumps(make()))
    return pickle.loads(path.read_bytes())


@pytest.fixture(scope='session')
def photos(shared):
    "Twenty drawings of each of the four classes, and two files that are no pictures"
    def make():
        path = make_samples(shared/'photos', n=20, size=64)
        (path/'puma_suede'/'notes.jpg').write_text('buy new laces')
        (path/'puma_suede'/'empty.png').touch()
        return path
    return once(shared/'photos.pkl', make)


@pytest.fixture(scope='session')
def quick_settings(tmp_path_factory):
    "The project's settings with a small network and a few short epochs"
    training = dict(architecture='tf_efficientnet_lite0', start='imagenet', epochs=16, detail=64, size=64, predict_size=64, batch_size=8,
        learning_rate=0.01)
    return changed_settings(tmp_path_factory.mktemp('settings')/'settings.ini', training=training)


@pytest.fixture(scope='session')
def trained(photos, quick_settings, shared):
    "A model folder, and what sneaker-train said while making it"
    out = shared/'mine'
    return once(shared/'trained.pkl', lambda: (out, command('train', '--data', photos, '--out', out, '--settings', quick_settings)))
