"""Cleaning full-size photos beside what Pillow alone needs for them

    python benchmarks/clean_speed.py photos/ [--copies 10]

Each photo below `photos` is copied a few times, with a few bytes added so that no two files are the same. Pillow alone
opens each file, reduces it with `thumbnail` (which unpacks a JPEG at reduced scale) and encodes it as a JPEG of the
same size and quality, in as many processes. Both are run in turn, three times each; the best of each counts.
"""
import argparse, os, shutil, tempfile, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image, ImageOps
from sneaker_classifier.clean import clean_images

def pillow_alone(paths):
    src,dst = paths
    im = Image.open(src)
    im.thumbnail((1024, 1024), Image.Resampling.LANCZOS)
    ImageOps.exif_transpose(im).convert('RGB').save(dst, 'JPEG', quality=90, optimize=True)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('photos'); p.add_argument('--copies', type=int, default=10)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        raw = Path(d)/'raw'/'shoes'
        raw.mkdir(parents=True)
        photos = [o for o in sorted(Path(args.photos).rglob('*')) if o.is_file()]
        for i in range(args.copies):
            for k,o in enumerate(photos): (raw/f'{k:03d}-{i:03d}{o.suffix}').write_bytes(o.read_bytes()+b'%d' % i)
        files = sorted(raw.iterdir())
        best = {}
        for turn in range(3):
            flat = Path(d)/f'flat{turn}'
            flat.mkdir()
            start = time.perf_counter()
            with ProcessPoolExecutor(os.cpu_count()) as pool: list(pool.map(pillow_alone, [(o, flat/f'{o.stem}.jpg') for o in files], chunksize=4))
            best['Pillow alone'] = min(best.get('Pillow alone', 1e9), time.perf_counter()-start)
            start = time.perf_counter()
            report = clean_images(raw.parent, Path(d)/f'clean{turn}', progress=False)
            best['clean_images'] = min(best.get('clean_images', 1e9), time.perf_counter()-start)
            shutil.rmtree(flat); shutil.rmtree(Path(d)/f'clean{turn}')
    for name,seconds in best.items(): print(f'{name}: {len(files)/seconds:.1f} photos a second')
    print(f"{best['Pillow alone']/best['clean_images']:.0%} of Pillow alone; {report}")

if __name__=='__main__': main()
