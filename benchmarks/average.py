"""The mean of two networks of which one was trained on from the other, measured and written as a model folder

    python benchmarks/average.py BEFORE AFTER PHOTOS OUT [--share 0.4] [--groups manifest.csv] [--unknown FOLDER]

Each weight becomes `share` of what it is in AFTER and the rest of what it is in BEFORE (Wortsman et al. 2022, Robust
fine-tuning of zero-shot models). Everything else, the list of learned photos included, is AFTER's. PHOTOS has a folder
for each class; those that AFTER has not learned from are measured on.
"""
import argparse, json, shutil
from pathlib import Path
from types import SimpleNamespace

from sneaker_classifier.data import OpenSquare, labelled_items # first: it silences a warning of torch's
import numpy as np
import pandas as pd
import timm
from fastai.vision.all import TimmBody
from safetensors.torch import load_file
from sneaker_classifier.evaluate import calibrate, cross_fitted, evaluate, false_certainty, not_trained_on
from sneaker_classifier.export import _half, _measured, _of_details, _zipped, model_card, onnx_bytes
from sneaker_classifier.files import sha256_of, write_whole
from sneaker_classifier.images import open_square
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import Training, load_settings
from sneaker_classifier.train import linear_head
from torch import nn


def mean_network(before, after, share, architecture, classes):
    a,b = load_file(before/'model.safetensors'),load_file(after/'model.safetensors')
    body = TimmBody(timm.create_model(architecture, num_classes=0))
    model = nn.Sequential(body, linear_head(body.model.num_features, classes))
    model.load_state_dict({k:a[k].float().lerp(b[k].float(), share) if a[k].is_floating_point() else b[k] for k in b})
    return model.eval()

def write_card(card, out):
    write_whole(out/'model.json', json.dumps(card, indent=1, ensure_ascii=False))
    write_whole(out/'MODEL_CARD.md', model_card(card))
    return SneakerClassifier(out)

def write_network(model, card, out):
    "The two files of weights and their hashes"
    training = Training(**{k:card['provenance'][k] for k in Training.__dataclass_fields__})
    files = {'model.onnx':onnx_bytes(SimpleNamespace(model=model), training), 'model.safetensors':_half(model)}
    for name,data in files.items(): write_whole(out/name, data)
    card['sha256'] = {**{name:sha256_of(data) for name,data in files.items()}, 'split.csv':card['sha256']['split.csv']}

def write_doubt(clf, items, out, precision):
    "Temperature, threshold and the answers that they were chosen from"
    card = clf.card
    logits = np.stack([clf._run(clf._all_cores, open_square(f, card['size'], clf.limits), 'logits')[0] for f in items.file])
    targets,groups = items.label.map(clf.labels.index).to_numpy(),pd.factorize(items.group)[0]
    npz = _zipped(logits=logits.astype(np.float16), targets=targets.astype(np.uint16), groups=groups.astype(np.int32))
    write_whole(out/'validation.npz', npz)
    temperature,sure_from = calibrate(logits, targets, precision)
    card.update(temperature=temperature, sure_from=sure_from, cross_fitted=cross_fitted(logits, targets, groups, precision))
    card['sha256']['validation.npz'] = sha256_of(npz)


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for o in 'before', 'after', 'photos', 'out': parser.add_argument(o, type=Path)
    for o in 'groups', 'unknown': parser.add_argument(f'--{o}', type=Path)
    parser.add_argument('--share', type=float, default=0.4)
    args = parser.parse_args()
    known,out = SneakerClassifier.load(args.after),args.out
    card,items = known.card,not_trained_on(labelled_items(args.photos, args.groups), args.after)
    out.mkdir(parents=True, exist_ok=True)
    if out!=args.after: shutil.copy2(args.after/'split.csv', out)
    write_network(mean_network(args.before, args.after, args.share, card['provenance']['architecture'], len(known.labels)), card, out)
    card['provenance']['averaged'] = f'{args.share:g} of these weights, the rest of those that training started from'
    clf = write_card(card, out)
    write_doubt(clf, items, out, load_settings(SneakerClassifier.load().folder/'settings.ini').evaluation.precision_when_sure)
    clf = write_card(clf.card, out)
    clf.card.update(_measured(evaluate(clf, items)), details=_of_details(clf, OpenSquare(clf.card['size']), items))
    if args.unknown: clf.card['false_certainty'] = false_certainty(clf, args.unknown)
    write_card(clf.card, out)
    print({k:clf.card[k] for k in ('metrics', 'cross_fitted', 'details', 'false_certainty') if k in clf.card})
