"Very many pictures: the same answers from this machine and from Ray, which may both be stopped at any time"
import os, shutil, signal, subprocess, sys, time

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import command, root
from test_commands import check_stopped, exe, on_unix, press, started

from sneaker_classifier import scale
from sneaker_classifier.files import SneakerError
from sneaker_classifier.samples import draw_shoe, make_samples


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    "Drawings, and two files that promise to be pictures and are none"
    path = make_samples(tmp_path_factory.mktemp('many')/'photos', n=60, size=48)
    whole = (path/'puma_suede'/'0000.jpg').read_bytes()
    (path/'puma_suede'/'half.jpg').write_bytes(whole[:600])
    (path/'adidas_superstar'/'start.jpg').write_bytes(whole[:20])
    return path

@pytest.fixture(autouse=True)
def small_parts(monkeypatch): monkeypatch.setattr(scale, '_mean', 16)

@pytest.fixture(scope='module')
def ray():
    "One Ray with two cores for all tests, whose workers are not made to wait for other tests"
    os.environ.update(RAY_worker_niceness='0', RAY_USAGE_STATS_ENABLED='0')
    import ray
    ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='FATAL')
    yield ray
    ray.shutdown()

def answers(out): return pd.read_parquet(out).sort_values('file').reset_index(drop=True)

def asked(places, out, **kw): return scale.score([places], out, progress=False, **kw)

@pytest.fixture(scope='module')
def local(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp('local')/'answers.parquet'
    assert (n := asked(pictures, out)[0]).total()==242 and n['bad']==2
    return answers(out)


def test_rows(local, pictures):
    from sneaker_classifier import SneakerClassifier
    p = SneakerClassifier.load().predict(local.file[3])
    row = local.iloc[3]
    assert (row.label, row.sure, row.brand_sure)==(p.label, p.sure, p.brand_sure) and abs(row.confidence-p.confidence)<1e-4
    bad = local[local.reason.notna()]
    assert all('cannot be used' in o for o in bad.reason) and bad.drop(columns=['file', 'reason']).isna().all(axis=None)


def test_a_worker_that_is_killed_loses_nothing(pictures, local, ray, tmp_path, monkeypatch):
    def is_worker(o): return 'MapWorker' in ' '.join(o.cmdline())
    killed,write = [],scale.write_whole
    def written(path, data):
        "After the first part one of the two workers dies"
        if path.suffix=='.parquet' and not killed:
            killed.append(next(o for o in psutil.Process().children(recursive=True) if is_worker(o)))
            killed[0].kill()
        return write(path, data)
    monkeypatch.setattr(scale, 'write_whole', written)

    n,_ = asked(pictures, tmp_path/'ray.parquet', engine='ray')

    assert killed and n.total()==242
    pd.testing.assert_frame_equal(answers(tmp_path/'ray.parquet'), local, check_exact=True)


def test_one_core_is_enough_and_none_is_said(pictures, ray, tmp_path):
    @ray.remote(num_cpus=1)
    class Other:
        def here(self): return True
    one = Other.remote()
    ray.get(one.here.remote())
    assert asked(pictures/'puma_suede', tmp_path/'one.parquet', engine='ray')[0].total()==61

    other = Other.remote()
    ray.get(other.here.remote())
    with pytest.raises(SneakerError, match='Ray has no free core: 2 are there and all are taken'):
        asked(pictures/'puma_suede', tmp_path/'none.parquet', engine='ray')
    for o in one,other: ray.kill(o)


@on_unix
def test_stopped_on_a_cluster_and_finished_here(pictures, local, ray, tmp_path):
    address = ray.get_runtime_context().gcs_address
    args = [exe('predict'), pictures, '--out', tmp_path/'a.parquet', '--engine', 'ray']
    last = check_stopped(*press(started(args, env=dict(os.environ, RAY_ADDRESS=address)), 'Looking'))
    assert last=='Stopped. The answers so far are complete; ask again for the other photos.'

    kept = {o:o.stat().st_mtime_ns for o in (tmp_path/'a.parquet').glob('*.parquet')}
    assert kept
    said = command('predict', pictures, '--out', tmp_path/'a.parquet').stdout
    assert '242 photos:' in said and '2 could not be used.' in said
    pd.testing.assert_frame_equal(answers(tmp_path/'a.parquet'), local, check_exact=True)
