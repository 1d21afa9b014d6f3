"""Cleaning full-size photos beside what Pillow alone needs for them

    python benchmarks/clean_speed.py photos/ [--each 4 10]

From each photo below `photos` other photos are made, none of which is a copy of another: a part of 60 to 70% of it, at
a random place, turned by a random quarter, a little lighter or darker, enlarged to the size that the photo had. Pillow
alone opens each file, reduces it with `thumbnail` (which unpacks a JPEG at reduced scale) and encodes it as a JPEG of
the same size and quality, in as many processes, and starts these too. The two are run by turns, five times each; the
best of each counts, and the ratio of the medians is shown beside the ratio of the best.
"""
import argparse, os, shutil, tempfile, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from sneaker_classifier.clean import clean_images

def make(path, out, each):
    "`each` photos of full size from one"
    with Image.open(path) as im: im = im.convert('RGB')
    for i in range(each):
        rng = np.random.default_rng([i, len(path.name), path.stat().st_size])
        w,h = (round(o*rng.uniform(.6, .7)) for o in im.size)
        x,y = rng.integers(0, im.width-w+1),rng.integers(0, im.height-h+1)
        part = im.resize(im.size, Image.Resampling.BICUBIC, box=(x, y, x+w, y+h)).rotate(90*rng.integers(4), expand=True)
        ImageEnhance.Brightness(part).enhance(rng.uniform(.8, 1.2)).save(out/f'{path.stem}-{i:02d}.jpg', quality=92)

def pillow_alone(src, dst):
    im = Image.open(src)
    im.thumbnail((1024, 1024), Image.Resampling.LANCZOS)
    ImageOps.exif_transpose(im).convert('RGB').save(dst, 'JPEG', quality=90, optimize=True)

def all_with_pillow(files, out):
    out.mkdir()
    with ProcessPoolExecutor(os.cpu_count()) as pool: list(pool.map(pillow_alone, files, [out/f.name for f in files]))

def compare(raw, work, turns=5):
    "Seconds of Pillow alone and of `clean_images`, by turns, and the last report"
    files,seconds = sorted(raw.glob('*/*')),[]
    for turn in range(turns+1):
        start = time.perf_counter()
        all_with_pillow(files, work/'flat')
        middle = time.perf_counter()
        report = clean_images(raw, work/'clean', progress=False)
        # The first turn only warms up.
        if turn: seconds.append((middle-start, time.perf_counter()-middle))
        for o in 'flat', 'clean': shutil.rmtree(work/o)
    return np.array(seconds).T, report

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('photos'); p.add_argument('--each', type=int, nargs='+', default=[4, 10])
    args = p.parse_args()
    photos = [o for o in sorted(Path(args.photos).rglob('*')) if o.is_file()]
    for each in args.each:
        with tempfile.TemporaryDirectory() as d:
            folder = Path(d)/'raw'/'shoes'
            folder.mkdir(parents=True)
            for o in photos: make(o, folder, each)
            (pillow,ours),report = compare(folder.parent, Path(d))
            n = len(report.items)+len(report.dropped)
            print(f'{n} photos, {sum(o.stat().st_size for o in folder.iterdir())/n/1e6:.1f} MB each: Pillow alone {n/pillow.min():.1f} a second, clean_images {n/ours.min():.1f}: '
                f'{pillow.min()/ours.min():.1%} of Pillow alone (of the medians {np.median(pillow)/np.median(ours):.1%}). {report}', flush=True)

if __name__=='__main__': main()
