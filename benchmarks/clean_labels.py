"""How many switched labels are among the first tenth of the ranking

    python benchmarks/clean_labels.py photos/ --manifest manifest.csv

5% of the labels of `photos` are switched at random. The bundled network has been trained on four fifths of these very
photos, with their right labels, which flatters the first line; in the second line are only photos that were kept back.
"""
import argparse, hashlib, tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import sneaker_classifier
from sneaker_classifier.clean import find_suspects

def trial(table, folder, share=.05, seed=0):
    rng = np.random.default_rng(seed)
    labels = sorted(table.label.unique())
    switched = rng.random(len(table))<share
    given = [labels[(labels.index(o)+rng.integers(1, len(labels)))%len(labels)] if s else o for o,s in zip(table.label, switched)]
    with tempfile.TemporaryDirectory() as d:
        # find_suspects needs two tables and readable files, which may lie anywhere.
        empty = np.full(len(table), '')
        pd.DataFrame(dict(file=[str((folder/f).resolve()) for f in table.file], label=given, group=table.group, width=empty, height=empty, phash=empty, source=empty, raw=table.file)).to_csv(Path(d)/'items.csv', index=False)
        pd.DataFrame(dict(raw=table.file, copy=table.group+table.file)).to_csv(Path(d)/'.records.csv', index=False)
        ranked = find_suspects(d, progress=False)
    first = set(ranked.raw[:len(ranked)//10])
    return len(table), int(switched.sum()), float(np.mean([f in first for f in table.file[switched]]))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('photos'); p.add_argument('--manifest', required=True)
    args = p.parse_args()
    folder = Path(args.photos).parent
    table = pd.read_csv(args.manifest)
    table = table[table.split=='train'].reset_index(drop=True)
    split = pd.read_csv(Path(sneaker_classifier.__file__).parent/'models'/'sneakers'/'split.csv').set_index('id').is_valid
    back = table.file.map(lambda f: bool(split.get(hashlib.sha256((folder/f).read_bytes()).hexdigest()[:32], False)))
    for name,t,seeds in [('all photos', table, 1), ('photos kept back from the network', table[back].reset_index(drop=True), 3)]:
        for seed in range(seeds):
            n,switched,found = trial(t, folder, seed=seed)
            print(f'{name} (seed {seed}): {n} photos, {switched} switched, {found:.1%} of them in the first tenth', flush=True)

if __name__=='__main__': main()
