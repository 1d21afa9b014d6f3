"""Are edited copies found, and nothing else?

    python benchmarks/quality_copies.py FOLDER [--n 500] [--peers PYTHON]

FOLDER has a manifest.csv. From `n` of its photos, drawn at random, ten edited copies each are written to a temporary folder. A pair of
pictures is right when both come from one photo, or from photos that the manifest puts in one group. PYTHON has imagededup and fastdup;
both look at the same files in the same run.
"""
import json, subprocess, tempfile, time
from pathlib import Path

import numpy as np
import pandas as pd
from common import jpeg, photos as listed, record
from fastcore.script import call_parse
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

def crop(im, share, rng):
    "Cut `share` off the width and off the height, at random ends"
    w,h = im.size
    x,y = rng.random(2)
    return im.crop((round(w*share*x), round(h*share*y), round(w*(1-share*(1-x))), round(h*(1-share*(1-y)))))

def border(im, rng):
    return ImageOps.expand(im, round(max(im.size)*rng.uniform(.03, .12)), tuple(int(o) for o in rng.choice([0, 255, 128], 1).repeat(3)))

def watermark(im, rng):
    mark = Image.new('RGBA', im.size)
    draw = ImageDraw.Draw(mark)
    look = dict(fill=(255, 255, 255, 150), font_size=max(8, im.height//10), stroke_width=1, stroke_fill=(0, 0, 0, 120))
    for y in range(0, im.height, max(12, im.height//5)): draw.text((rng.integers(0, im.width//3+1), y), 'SAMPLE PHOTO', **look)
    return Image.alpha_composite(im.convert('RGBA'), mark).convert('RGB')

def resize(im, rng):
    f = rng.uniform(.4, 2)
    return im.resize([max(24, round(o*f)) for o in im.size], Image.Resampling.BICUBIC)

def lighten(im, rng):
    im = ImageEnhance.Brightness(im).enhance(rng.choice([.75, 1.25]))
    return ImageEnhance.Contrast(im).enhance(rng.choice([.8, 1.2]))

def rotate(im, rng): return im.rotate(rng.choice([-5, -3, 3, 5]), Image.Resampling.BICUBIC, fillcolor=im.getpixel((0, 0)))

edits = {
    're-encode': lambda im,rng: jpeg(im, int(rng.integers(25, 70))),
    'resize': lambda im,rng: jpeg(resize(im, rng)),
    'mirror': lambda im,rng: jpeg(ImageOps.mirror(im)),
    '5% crop': lambda im,rng: jpeg(crop(im, .05, rng)),
    'border': lambda im,rng: jpeg(border(im, rng)),
    'watermark': lambda im,rng: jpeg(watermark(im, rng)),
    'brightness': lambda im,rng: jpeg(lighten(im, rng)),
    'grey': lambda im,rng: jpeg(ImageOps.grayscale(im)),
    '15% crop': lambda im,rng: jpeg(crop(im, .15, rng)),
    'turned': lambda im,rng: jpeg(rotate(im, rng)),
}
asked = 're-encode', 'resize', 'mirror', '5% crop', 'border'

def make(table, out, n, seed=0):
    "Write originals and copies; return a table of file, photo, edit"
    table = table.drop_duplicates('group')
    table = table.sample(n, random_state=seed).sort_values('file')
    rows = []
    for i,row in enumerate(table.itertuples()):
        rng = np.random.default_rng([seed, i])
        im = Image.open(row.file).convert('RGB')
        for edit,make in {'original':lambda im,rng: jpeg(im, 92), **edits}.items():
            name = f'{i:04d}-{edit.replace(" ","").replace("%","")}.jpg'
            (out/name).write_bytes(make(im, rng))
            rows.append((name, row.group, edit))
    return pd.DataFrame(rows, columns=['file', 'photo', 'edit'])

def pairs_of(groups):
    "All pairs (i<j) of positions that share a group"
    found = set()
    for members in pd.Series(range(len(groups))).groupby(np.asarray(groups)).apply(list):
        found.update((a, b) for k,a in enumerate(members) for b in members[k+1:])
    return found

def score(table, groups):
    "Share of copies that are with their original, per edit, and the share of all found pairs that are right"
    photo,groups = table.photo.to_numpy(),np.asarray(groups)
    first = table.edit=='original'
    origin = table.photo.map(dict(zip(table.photo[first], groups[first]))).to_numpy()
    recall = {edit:float((groups==origin)[table.edit==edit].mean()) for edit in edits}
    found = pairs_of(groups)
    right = sum(photo[a]==photo[b] for a,b in found)
    some = table.edit.isin(('original', *asked)).to_numpy()
    easy = [(a,b) for a,b in found if some[a] and some[b]]
    return {**recall, 'mean of the first five':float(np.mean([recall[o] for o in asked])), 'precision':right/max(1, len(found)),
        'precision among the first five':sum(photo[a]==photo[b] for a,b in easy)/max(1, len(easy))}

def ours(folder, files):
    from concurrent.futures import ProcessPoolExecutor
    from sneaker_classifier.copies import Prints, find_groups, fingerprint_file
    from sneaker_classifier.predict import SneakerClassifier
    with ProcessPoolExecutor() as pool: prints = list(pool.map(fingerprint_file, [folder/f for f in files], chunksize=32))
    looked = SneakerClassifier.load().features_many([folder/f for f in files])
    found = find_groups(Prints.of(prints), np.array([*looked]))
    return dict(copies=found['copy'], groups=found['group'])

# Each peer runs in its own Python, prints nothing else and leaves a group number for each file, in order.
_peers = {'imagededup PHash': """
from imagededup.methods import PHash
near = PHash().find_duplicates(image_dir=folder, max_distance_threshold=10)
""", 'imagededup CNN': """
from imagededup.methods import CNN
near = CNN().find_duplicates(image_dir=folder, min_similarity_threshold=0.9)
""", 'fastdup': """
import fastdup, tempfile, pandas as pd
work = tempfile.mkdtemp()
fd = fastdup.create(work_dir=work, input_dir=folder)
fd.run(ccthreshold=0.9, threshold=0.9, overwrite=True, print_summary=False, verbose=False)
sim = fd.similarity()
near = {}
for a,b in zip(sim['filename_from'], sim['filename_to']): near.setdefault(a.split('/')[-1], []).append(b.split('/')[-1])
"""}
_tail = """
import json
at = {f:i for i,f in enumerate(files)}
parent = list(range(len(files)))
def root(i):
    while parent[i]!=i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
for f,others in near.items():
    for o in others: parent[root(at[f])] = root(at[o])
json.dump([root(i) for i in range(len(files))], open(out, 'w'))
"""

def peer(python, name, folder, files):
    with tempfile.TemporaryDirectory() as d:
        out = Path(d)/'groups.json'
        head = f'folder,files,out = {str(folder)!r},{list(files)!r},{str(out)!r}\nif __name__=="__main__":\n'
        code = head + '\n'.join('    '+o for o in (_peers[name]+_tail).splitlines())
        script = Path(d)/'peer.py'
        script.write_text(code, encoding='utf-8')
        done = subprocess.run([python, script], capture_output=True, text=True, cwd=d)
        return json.loads(out.read_text()) if out.is_file() else (done.stderr.strip().splitlines() or ['no answer'])[-1]

@call_parse
def main(
    photos:str,     # Folder with a manifest
    n:int=500,      # Photos to edit
    peers:str=None  # A Python with imagededup and fastdup
):
    with tempfile.TemporaryDirectory() as d:
        table = make(listed(photos), Path(d), n)
        start = time.perf_counter()
        found = {f'ours, {name}':score(table, groups) for name,groups in ours(Path(d), table.file).items()}
        seconds = dict(ours=time.perf_counter()-start)
        for name in _peers if peers else ():
            start = time.perf_counter()
            answer = peer(peers, name, Path(d), table.file)
            if isinstance(answer, str): print(f'{name}: no result ({answer})')
            else: found[name],seconds[name] = score(table, answer),time.perf_counter()-start
    others = [o for o in found if not o.startswith('ours')]
    rows = [dict(what=f'{kind[6:]}: {what}', ours=100*share, unit='%', **(dict(peer=o, theirs=100*found[o][what]) if o else {}))
        for kind in ('ours, copies', 'ours, groups') for what,share in found[kind].items() for o in others or [None]]
    took = [dict(what=f'{len(table):,} pictures', ours=seconds['ours'], unit='s', peer=o, theirs=seconds[o]) for o in others]
    record('quality_copies', rows+(took or [dict(what=f'{len(table):,} pictures', ours=seconds['ours'], unit='s')]))
