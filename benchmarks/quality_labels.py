"""What comes first in the review?

    python benchmarks/quality_labels.py FOLDER [--seeds 3]

FOLDER has a manifest.csv. Of the photos that the bundled model kept back, 5% of the labels are switched at random. Then, with right
labels, 5% of drawn pictures that show no sneaker are mixed in under random labels: texts, logos, boxes, textures, drawings of shoes,
and collages of four photos.
"""
import shutil, tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import bundled, photos as listed, record
from fastcore.script import call_parse
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from quality_model import row
from sneaker_classifier.data import picture_id, read_split
from sneaker_classifier.files import sha256_of
from sneaker_classifier.review import find_suspects
from sneaker_classifier.samples import draw_shoe

def colour(rng): return tuple(int(o) for o in rng.integers(0, 256, 3))

def text(rng, photos):
    im = Image.new('RGB', (200, 150), 'white' if rng.random()<.5 else colour(rng))
    said = ['SALE', 'free shipping', 'size guide', '-30%', 'not available', 'EU 42']
    for i in range(rng.integers(2, 8)):
        ImageDraw.Draw(im).text((10, 8+18*i), ' '.join(rng.choice(said, 3)), colour(rng), font_size=int(rng.integers(9, 16)))
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

def ranking(table):
    "Files by suspicion, of a table with file, label and group"
    with tempfile.TemporaryDirectory() as d:
        # find_suspects reads two tables and pictures that are named as cleaning names them.
        (Path(d)/'photo').mkdir()
        clean = [f'photo/{sha256_of(o)}.jpg' for o in table.file]
        for file,name in zip(table.file, clean): shutil.copyfile(file, Path(d)/name)
        items = table[['label', 'group']].assign(file=clean, raw=table.file, width='', height='', phash='', source='')
        items.to_csv(Path(d)/'items.csv', index=False)
        pd.DataFrame(dict(raw=table.file, copy=table.group+table.file)).to_csv(Path(d)/'.records.csv', index=False)
        return find_suspects(d, progress=False).raw

def found(ranked, wrong):
    "How many of `wrong` are in the first tenth of the ranking"
    first = set(ranked[:len(ranked)//10])
    return sum(o in first for o in wrong)

def switch_labels(table, seed, share=.05):
    rng,labels = np.random.default_rng(seed),sorted(table.label.unique())
    switched = rng.random(len(table))<share
    given = [labels[(labels.index(o)+rng.integers(1, len(labels)))%len(labels)] if s else o for o,s in zip(table.label, switched)]
    return found(ranking(table.assign(label=given)), table.file[switched]),switched.sum()

def mix_in(table, seed, share=.05):
    rng,labels = np.random.default_rng(seed),sorted(table.label.unique())
    with tempfile.TemporaryDirectory() as d:
        rows = []
        for i in range(round(len(table)*share)):
            kind = list(strays)[i%len(strays)]
            path = Path(d)/f'{kind}-{i:03d}.jpg'
            strays[kind](rng, table.file.tolist()).save(path, quality=90)
            rows.append(dict(file=str(path), label=rng.choice(labels), group=path.stem))
        more = pd.DataFrame(rows)
        return found(ranking(pd.concat([table, more], ignore_index=True)), more.file),len(more)

@call_parse
def main(
    photos:str, # Folder with a manifest
    seeds:int=3 # How often labels are switched and pictures mixed in
):
    split,table = read_split(bundled),listed(photos)
    table = table[table.file.map(picture_id).isin(split.id[split.is_valid])].reset_index(drop=True)
    rows = []
    for what,change in {'switched labels':switch_labels, 'pictures without a sneaker':mix_in}.items():
        k,n = map(sum, zip(*(change(table, seed) for seed in range(seeds))))
        rows.append(row(f'{what}, in the first tenth of {len(table)}', k, n, peer='chance', theirs=10))
    record('quality_labels', rows)
