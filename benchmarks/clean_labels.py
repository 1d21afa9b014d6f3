"""How many wrong labels, and how many pictures that show no sneaker, are among the first tenth of the ranking

    python benchmarks/clean_labels.py photos/ --manifest manifest.csv [--seeds 3] [--all]

5% of the labels of `photos` are switched at random. Then, with right labels, 5% of drawn pictures that show no sneaker
are mixed in under random labels: texts, logos, boxes, textures, drawings of shoes, and collages of four photos. The
photos are those that were kept back when the bundled network was trained. With `--all` there is a line for all photos
as well; the network has been trained on four fifths of these very photos, with their right labels, which flatters it.
"""
import argparse, hashlib, tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import sneaker_classifier
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from sneaker_classifier.review import find_suspects
from sneaker_classifier.samples import draw_shoe

def colour(rng): return tuple(int(o) for o in rng.integers(0, 256, 3))

def text(rng, photos):
    im = Image.new('RGB', (200, 150), 'white' if rng.random()<.5 else colour(rng))
    for i in range(rng.integers(2, 8)): ImageDraw.Draw(im).text((10, 8+18*i), ' '.join(rng.choice(['SALE', 'free shipping', 'size guide', '-30%', 'not available', 'EU 42'], 3)), colour(rng), font_size=int(rng.integers(9, 16)))
    return im

def logo(rng, photos):
    im = Image.new('RGB', (160, 160), 'white')
    draw = ImageDraw.Draw(im)
    for _ in range(rng.integers(1, 4)):
        x,y,r = rng.integers(40, 120), rng.integers(40, 120), rng.integers(15, 45)
        (draw.ellipse if rng.random()<.5 else draw.rectangle)((x-r, y-r, x+r, y+r), fill=colour(rng))
    draw.text((40, 130), rng.choice(['ACME', 'RUN', 'N°5', 'sport']), 'black', font_size=22)
    return im

def box(rng, photos):
    im = Image.new('RGB', (200, 160), 'white')
    side,d,(x,y) = colour(rng),int(rng.integers(15, 40)),rng.integers(20, 40, 2)
    w,h = rng.integers(90, 120),rng.integers(50, 70)
    draw = ImageDraw.Draw(im)
    draw.polygon([(x, y+d), (x+d, y), (x+d+w, y), (x+w, y+d)], tuple(o//2 for o in side))
    draw.polygon([(x+w, y+d), (x+w+d, y), (x+w+d, y+h), (x+w, y+d+h)], tuple(o//3 for o in side))
    draw.rectangle((x, y+d, x+w, y+d+h), side)
    return im

def texture(rng, photos):
    noise = Image.effect_noise((160, 160), float(rng.uniform(20, 90))).filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 4))))
    return ImageOps.colorize(noise, colour(rng), colour(rng))

def drawing(rng, photos):
    return draw_shoe(rng.choice(['adidas_superstar', 'puma_suede', 'nike_air_force_1']), int(rng.integers(1e6)), 160)

def collage(rng, photos):
    im = Image.new('RGB', (200, 200), 'white')
    for i,path in enumerate(rng.choice(photos, 4)):
        with Image.open(path) as photo: im.paste(ImageOps.pad(photo.convert('RGB'), (96, 96), color='white'), (2+100*(i%2), 2+100*(i//2)))
    return im

strays = dict(text=text, logo=logo, box=box, texture=texture, drawing=drawing, collage=collage)

def ranking(table, folder):
    "Raw names by suspicion, of a table with file, label and group"
    with tempfile.TemporaryDirectory() as d:
        # find_suspects needs two tables and readable files, which may lie anywhere.
        empty = np.full(len(table), '')
        pd.DataFrame(dict(file=[str((folder/f).resolve()) for f in table.file], label=table.label, group=table.group, width=empty, height=empty, phash=empty, source=empty, raw=table.file)).to_csv(Path(d)/'items.csv', index=False)
        pd.DataFrame(dict(raw=table.file, copy=table.group.astype(str)+table.file)).to_csv(Path(d)/'.records.csv', index=False)
        return find_suspects(d, progress=False).raw

def found(ranked, wrong):
    "Share of `wrong` in the first tenth of the ranking"
    first = set(ranked[:len(ranked)//10])
    return float(np.mean([o in first for o in wrong]))

def switch_labels(table, folder, seed, share=.05):
    rng = np.random.default_rng(seed)
    labels = sorted(table.label.unique())
    switched = rng.random(len(table))<share
    given = [labels[(labels.index(o)+rng.integers(1, len(labels)))%len(labels)] if s else o for o,s in zip(table.label, switched)]
    wrong = table.file[switched]
    return f'{len(wrong)} switched: {found(ranking(table.assign(label=given), folder), wrong):.1%} of them in the first tenth'

def mix_in(table, folder, seed, share=.05):
    rng = np.random.default_rng(seed)
    photos,labels = [folder/f for f in table.file],sorted(table.label.unique())
    with tempfile.TemporaryDirectory() as d:
        rows = []
        for i in range(round(len(table)*share)):
            kind = list(strays)[i%len(strays)]
            path = Path(d)/f'{kind}-{i:03d}.jpg'
            strays[kind](rng, photos).save(path, quality=90)
            rows.append(dict(file=str(path), label=rng.choice(labels), group=path.stem, kind=kind))
        more = pd.DataFrame(rows)
        ranked = ranking(pd.concat([table, more], ignore_index=True), folder)
    each = ', '.join(f'{kind} {found(ranked, files):.0%}' for kind,files in more.groupby('kind', sort=False).file)
    return f'{len(more)} without a sneaker: {found(ranked, more.file):.1%} of them in the first tenth ({each})'

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('photos'); p.add_argument('--manifest', required=True); p.add_argument('--seeds', type=int, default=3); p.add_argument('--all', action='store_true')
    args = p.parse_args()
    folder = Path(args.photos).parent
    table = pd.read_csv(args.manifest)
    table = table[table.split=='train'].reset_index(drop=True)
    split = pd.read_csv(Path(sneaker_classifier.__file__).parent/'models'/'sneakers'/'split.csv').set_index('id').is_valid
    back = table.file.map(lambda f: bool(split.get(hashlib.sha256((folder/f).read_bytes()).hexdigest()[:32], False)))
    for name,t,seeds in [('photos kept back', table[back].reset_index(drop=True), args.seeds), ('all photos', table, int(args.all))]:
        for seed in range(seeds):
            for change in switch_labels, mix_in: print(f'{len(t)} {name} (seed {seed}), {change(t, folder, seed)}', flush=True)

if __name__=='__main__': main()
