"What a system can have against reading and writing: one sentence each, and nothing left half done"
import errno, os, shutil, subprocess, sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import needs, root

from sneaker_classifier.files import SneakerError, WriteError, files_below, make_folder, one_at_a_time, part_file, reading, sha256_of, \
    take_room, usable_cores, write_whole

kinds = dict(
    ENOSPC='the disk is full. Make room', EDQUOT='your share of the disk is used up', EFBIG='files as large as that',
    EACCES='does not allow it. Choose another folder', EPERM='does not allow it', EROFS='can only be read',
    ENOTDIR='a file where a folder should be', EEXIST='a file where a folder should be', EISDIR='a folder of that name',
    ENAMETOOLONG='the name is too long. Choose a shorter', EINVAL='takes no such name', EBUSY='another program is using it. Close that',
    EIO='does not answer', EMFILE='Too many open files')


def refuse(number): return lambda *args, **kw: (_ for _ in ()).throw(OSError(number, os.strerror(number)))

@contextmanager
def largest_file(size):
    "Within it, the system lets no file grow beyond `size` bytes, as a disk does that is full"
    import resource
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('step', ['os.mkdir', 'open', 'os.fsync', 'os.replace'])
@pytest.mark.parametrize('kind', kinds)
def test_writing_that_fails_is_one_sentence_and_leaves_nothing(kind, step, tmp_path, monkeypatch):
    write_whole(tmp_path/'old'/'shoe.txt', 'as it was')
    monkeypatch.setattr(f'sneaker_classifier.files.{step}', refuse(getattr(errno, kind)), raising=step!='open')
    path = tmp_path/'old'/'shoe.txt' if step!='os.mkdir' else tmp_path/'new'/'shoe.txt'

    with pytest.raises(WriteError) as e: write_whole(path, 'as it is')

    said = str(e.value)
    assert said.startswith(str(path if step!='os.mkdir' else path.parent)) and said.endswith('.')
    assert kinds[kind] in said and '\n' not in said
    monkeypatch.undo()
    assert [(o.name, o.read_text()) for o in files_below(tmp_path)]==[('shoe.txt', 'as it was')]


@pytest.mark.parametrize('number, words', [(32, 'another program'), (39, 'disk is full'), (206, 'name is too long'),
    (1295, 'share of the disk'), (19, 'only be read')])
def test_errors_of_windows(number, words, tmp_path, monkeypatch):
    error = OSError(errno.EACCES, 'Access is denied')
    error.winerror = number
    def replace(*args): raise error
    monkeypatch.setattr(os, 'replace', replace)
    with pytest.raises(WriteError, match=words): write_whole(tmp_path/'x', 'x')


@pytest.mark.skipif(os.name=='nt', reason='Windows has no such limit')
def test_a_disk_that_is_full(tmp_path):
    with largest_file(100_000):
        with pytest.raises(WriteError, match='large.bin cannot be written: files as large as that'):
            write_whole(tmp_path/'large.bin', bytes(200_000))
        with pytest.raises(WriteError, match='room.bin'), part_file(tmp_path/'room.bin') as f: take_room(f, 200_000)
        write_whole(tmp_path/'small.bin', bytes(100))

    assert [o.name for o in files_below(tmp_path)]==['small.bin']


@pytest.mark.skipif(os.name=='nt', reason='Windows has no such limit')
def test_what_torch_cannot_save(tmp_path):
    torch = needs('torch')

    with largest_file(100_000), pytest.raises(WriteError, match='weights.pth cannot be written: files as large as that'):
        with part_file(tmp_path/'weights.pth') as f: torch.save(dict(w=torch.zeros(100_000)), f)
    assert not files_below(tmp_path)

    # An error that has nothing to do with the file stays what it is.
    with pytest.raises(RuntimeError, match='something else'), part_file(tmp_path/'x'): raise RuntimeError('something else')


@pytest.mark.parametrize('interruption', [KeyboardInterrupt, SystemExit, MemoryError])
def test_interrupted_writing_leaves_nothing(interruption, tmp_path):
    with pytest.raises(interruption), part_file(tmp_path/'x') as f:
        f.write(b'half')
        raise interruption
    assert not files_below(tmp_path)


@pytest.mark.parametrize('number, fails', [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False), (errno.EINVAL, False), (None, False)])
def test_room_is_taken_where_the_system_can(number, fails, tmp_path, monkeypatch):
    if number: monkeypatch.setattr(os, 'posix_fallocate', refuse(number), raising=False)
    else: monkeypatch.delattr(os, 'posix_fallocate', raising=False)

    try:
        with part_file(tmp_path/'x') as f: take_room(f, 10)
    except WriteError: assert fails and not files_below(tmp_path)
    else: assert not fails and (tmp_path/'x').is_file()


@pytest.mark.parametrize('name', ['a file', 'a file/deeper', 'x'*300])
def test_a_folder_that_cannot_be(name, tmp_path):
    (tmp_path/'a file').touch()
    with pytest.raises(WriteError, match='cannot be written'): make_folder(tmp_path/name)
    with pytest.raises(WriteError, match='cannot be written'), one_at_a_time(tmp_path/name): pass


def test_reading_says_which_file_and_why(tmp_path, monkeypatch):
    words = 'is cannot be read: there is a folder of that name' if os.name!='nt' else None
    with pytest.raises(SneakerError, match=words):
        with reading('is'): raise IsADirectoryError(errno.EISDIR, 'Is a directory')

    (tmp_path/'a').mkdir()
    real = os.scandir
    monkeypatch.setattr(os, 'scandir', lambda path: refuse(errno.EACCES)() if Path(path).name=='a' else real(path))

    with pytest.raises(SneakerError, match='cannot be read: the system does not allow it'): files_below(tmp_path)


def test_a_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    for data in (b'', b'x', bytes(range(256))*5000):
        (tmp_path/'x').write_bytes(data)
        assert sha256_of(tmp_path/'x')==sha256_of(str(tmp_path/'x'))==sha256_of(data)


def test_the_sentence_stays_what_it_was_whoever_adds_to_the_error():
    import pickle
    error = WriteError('x cannot be written.')
    error.args = ['Exception in a callback:\n\tx cannot be written.']   # as fastai does
    assert str(error)==str(pickle.loads(pickle.dumps(error)))=='x cannot be written.'


holds_a_folder = '''
import sys, time
from sneaker_classifier.files import one_at_a_time
with one_at_a_time(sys.argv[1]):
    print('held', flush=True)
    time.sleep(600)
'''

def test_another_process_waits_until_the_first_is_gone_however_it_ended(tmp_path):
    with subprocess.Popen([sys.executable, '-c', holds_a_folder, tmp_path], stdout=subprocess.PIPE, cwd=root) as first:
        assert first.stdout.readline().strip()==b'held'
        try:
            with pytest.raises(SneakerError, match='Another run is at work'), one_at_a_time(tmp_path): pass
        finally: first.kill()
        first.wait()

    (tmp_path/'.shoe.jpg.123.part').touch()
    with one_at_a_time(tmp_path), one_at_a_time(tmp_path): pass

    assert not list(tmp_path.rglob('*.part'))


def test_a_run_that_made_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), one_at_a_time(tmp_path/'a'/'new'): 1/0
    assert not (tmp_path/'a'/'new').exists()

    with one_at_a_time(tmp_path/'kept'): write_whole(tmp_path/'kept'/'x', 'x')
    with one_at_a_time(tmp_path/'kept'): pass
    assert (tmp_path/'kept'/'x').is_file()


groups = {'none':({}, None), 'no limit':({'cpu.max':'max 100000'}, None), 'half':({'cpu.max':'50000 100000'}, 1),
    'one and a half':({'cpu.max':'150000 100000'}, 2),
    'ours':({'job/cpu.max':'100000 100000'}, 1), 'around ours':({'job/cpu.max':'max 100000', 'cpu.max':'100000 100000'}, 1),
    'version 1':({'cpu/cpu.cfs_quota_us':'100000', 'cpu/cpu.cfs_period_us':'100000'}, 1),
    'version 1, no limit':({'cpu/cpu.cfs_quota_us':'-1', 'cpu/cpu.cfs_period_us':'100000'}, None), 'nonsense':({'cpu.max':'many'}, None)}

@pytest.mark.parametrize('name', groups)
def test_quotas_of_containers(name, tmp_path, monkeypatch):
    written,cores = groups[name]
    for file,text in written.items(): write_whole(tmp_path/'cgroup'/file, text+'\n')
    (tmp_path/'own').write_text('1:cpu:/\n0::/job\n')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, 'process_cpu_count', lambda: 8, raising=False)

    assert usable_cores(tmp_path/'cgroup', tmp_path/'own')==(cores or 8)


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='only Linux binds processes to cores')
def test_a_process_bound_to_one_core():
    code = 'import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); ' \
        'from sneaker_classifier.files import usable_cores; print(usable_cores())'
    assert subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True).stdout.strip()=='1'


@pytest.mark.parametrize('asked, platform, cores, processes', [(None, 'linux', 6, 6), (None, 'win32', 64, 61), (1000, 'win32', 64, 61),
    (1000, 'linux', 2, 8), (3, 'linux', 1, 3)])
def test_processes_that_clean(asked, platform, cores, processes, monkeypatch):
    clean = needs('sneaker_classifier.clean')
    monkeypatch.setattr(clean, 'usable_cores', lambda: cores)
    monkeypatch.setattr(sys, 'platform', platform)

    assert clean._processes(asked)==processes

    for o in (0, -3):
        with pytest.raises(SneakerError, match='workers = .* cannot be used'): clean._processes(o)


bundled = root/'sneaker_classifier'/'models'/'sneakers'

@pytest.fixture
def folder(tmp_path): return shutil.copytree(bundled, tmp_path/'model')

def lock(monkeypatch, name):
    "Let nobody read files called `name`"
    for method in ('read_bytes', 'read_text'):
        real = getattr(Path, method)
        def read(self, *args, real=real, **kw):
            if self.name==name: raise PermissionError(errno.EACCES, 'Permission denied', str(self))
            return real(self, *args, **kw)
        monkeypatch.setattr(Path, method, read)


@pytest.mark.parametrize('name', ['model.json', 'model.onnx'])
def test_a_model_that_may_not_be_read(name, folder, monkeypatch):
    from sneaker_classifier.predict import ModelError, SneakerClassifier
    lock(monkeypatch, name)
    with pytest.raises(ModelError, match=f'{name} cannot be read: the system does not allow it'): SneakerClassifier.load(folder)

    monkeypatch.undo()
    (folder/name).unlink()
    (folder/name).mkdir()
    with pytest.raises(ModelError, match=f'no {name}'): SneakerClassifier.load(folder)


def test_what_training_may_not_read(folder, monkeypatch):
    needs('fastai')
    from sneaker_classifier.data import learned_ids
    from sneaker_classifier.evaluate import validation_logits
    from sneaker_classifier.export import load_sneaker_learner
    from sneaker_classifier.predict import ModelError, SneakerClassifier
    from sneaker_classifier.network import _take_weights

    known = SneakerClassifier.load(folder)
    (folder/'sneaker_model.pkl').write_bytes(b'x')
    readers = {'model.safetensors':lambda: _take_weights(None, [], known), 'sneaker_model.pkl':lambda: load_sneaker_learner(folder)}

    for name,read in readers.items():
        with monkeypatch.context() as m, pytest.raises(SneakerError, match=f'{name} cannot be read: the system does not allow it'):
            lock(m, name)
            read()

    monkeypatch.setattr('pandas.read_csv', refuse(errno.EACCES))
    with pytest.raises(SneakerError, match='split.csv cannot be read: the system does not allow it'): learned_ids(folder)

    monkeypatch.setattr('numpy.load', refuse(errno.EACCES))
    with pytest.raises(ModelError, match='validation.npz cannot be read: the system does not allow it'): validation_logits(known)


def test_settings_that_may_not_be_read(tmp_path, monkeypatch):
    from sneaker_classifier.settings import SettingsError, load_settings
    shutil.copy(root/'settings.ini', tmp_path)
    lock(monkeypatch, 'settings.ini')
    with pytest.raises(SettingsError, match='settings.ini cannot be read: the system does not allow it'):
        load_settings(tmp_path/'settings.ini')


def test_cleaning_says_what_it_may_not_read(tmp_path, monkeypatch):
    clean = needs('sneaker_classifier.clean')
    from sneaker_classifier.samples import make_samples
    raw = make_samples(tmp_path/'raw', n=1, size=64)
    real = clean.sha256_of
    monkeypatch.setattr(clean, 'sha256_of', lambda src: refuse(errno.EACCES)() if 'puma' in str(src) else real(src))

    report = clean.clean_images(raw, tmp_path/'clean', workers=1, progress=False)

    assert report.reasons.to_dict()=={'the file cannot be read (the system does not allow it)':1} and len(report.items)==3

    for name in ('items.csv', 'decisions.csv'):
        (tmp_path/'clean'/name).unlink(missing_ok=True)
        (tmp_path/'clean'/name).mkdir()
        with pytest.raises(SneakerError, match=f'{name} cannot be'): clean.clean_images(raw, tmp_path/'clean', workers=1, progress=False)
        (tmp_path/'clean'/name).rmdir()

    assert len(clean.clean_images(raw, tmp_path/'clean', workers=1, progress=False).items)==3


@pytest.mark.skipif(os.name=='nt', reason='Windows has no such limit')
def test_a_disk_that_fills_up_while_cleaning(tmp_path):
    clean = needs('sneaker_classifier.clean')
    from sneaker_classifier.samples import make_samples
    raw = make_samples(tmp_path/'raw', n=2, size=200)

    for workers in (1, 2):
        with largest_file(1000), pytest.raises(WriteError, match='cannot be written: files as large as that'):
            clean.clean_images(raw, tmp_path/'clean', workers=workers, progress=False)
        assert not list((tmp_path/'clean').rglob('*.part')) and not list((tmp_path/'clean').rglob('*.jpg'))

    assert len(clean.clean_images(raw, tmp_path/'clean', workers=2, progress=False).items)==8
