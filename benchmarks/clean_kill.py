"""Kill cleaning at random instants, start it again, and compare with a run that was left in peace

    python benchmarks/clean_kill.py [--kills 50]

Drawings of three classes with copies, a photo in two classes and broken files are cleaned by two processes. Each of the
trials starts in an empty folder; the whole process group is killed (SIGKILL) at a random instant, one to three times,
and then cleaning runs to its end. All files must be the same, byte for byte, hidden ones too. For Linux and macOS.
"""
import argparse, multiprocessing, os, random, shutil, signal, tempfile, time
from collections import Counter
from pathlib import Path

from PIL import Image, ImageOps
from sneaker_classifier.clean import clean_images
from sneaker_classifier.samples import make_samples

def mess(raw):
    "Raw pictures of every fate"
    make_samples(raw, ['adidas_superstar', 'puma_suede', 'nike_air_force_1'], n=16, size=400)
    for i in range(6):
        with Image.open(raw/'puma_suede'/f'{i:04d}.jpg') as im:
            im.resize((200, 200)).save(raw/'puma_suede'/f'small_{i}.png')
            if i<2: ImageOps.mirror(im).save(raw/'adidas_superstar'/f'mirror_{i}.webp')
    for i in range(3): (raw/'nike_air_force_1'/f'half_{i}.jpg').write_bytes((raw/'puma_suede'/f'{i:04d}.jpg').read_bytes()[:2000])

def start(raw, out):
    "Cleaning in a process group of its own"
    def work():
        os.setsid()
        clean_images(raw, out, workers=2, progress=False)
    p = multiprocessing.get_context('fork').Process(target=work)
    p.start()
    return p

def contents(out): return {p.relative_to(out).as_posix():p.read_bytes() for p in out.rglob('*') if p.is_file()}

def stage(out):
    "How far a run that was killed had come"
    if not any(out.glob('*/*.jpg')): return 'before the first picture'
    if not (out/'.records.csv').is_file(): return 'while pictures were cleaned and compared'
    if not (out/'items.csv').is_file(): return 'while pictures were put in place'
    return 'when all tables were there'

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--kills', type=int, default=50); p.add_argument('--seed', type=int, default=0)
    args = p.parse_args()
    rng,stages,trials,wrong = random.Random(args.seed),Counter(),0,0
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        mess(d/'raw')
        started = time.perf_counter()
        start(d/'raw', d/'peace').join()
        seconds,expected = time.perf_counter()-started,contents(d/'peace')
        while stages.total()<args.kills:
            for _ in range(rng.randint(1, 3)):
                run = start(d/'raw', d/'out')
                run.join(rng.uniform(0, seconds))
                if run.exitcode is not None: continue
                # Before its first step a process has no group of its own yet.
                try: os.killpg(run.pid, signal.SIGKILL)
                except ProcessLookupError: run.kill()
                run.join()
                stages[stage(d/'out')] += 1
            last = start(d/'raw', d/'out')
            last.join()
            trials,wrong = trials+1,wrong+(last.exitcode!=0 or contents(d/'out')!=expected)
            shutil.rmtree(d/'out')
    print(f'{stages.total()} kills within the {seconds:.1f} s of a run, {trials} trials: {wrong} ended in another result than the undisturbed run ({len(expected)} files)')
    for where,n in stages.most_common(): print(f'{n} × {where}')

if __name__=='__main__': main()
