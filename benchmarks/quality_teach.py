"""What do a few photos teach, and at what cost?

    python benchmarks/quality_teach.py FOLDER [--model MODEL] [--draws 20]

FOLDER has a manifest.csv. Of models that the network cannot name, four are drawn, and some photos of each are taught; the rest are
asked. *Other photos* are of no group that was taught; *other shops* of no source that was. *Known* are photos of known models from
other shops than most, *neither* are other models that were not taught, and things that are no sneaker; of both, only what it has not
learned. (Of the photos that are taught, the bundled network has learned many as nothing that is known, which makes it harder.)
"""
import time

import numpy as np
import pandas as pd
from common import bundled, not_learned, photos as listed, record
from concurrent.futures import ThreadPoolExecutor
from fastcore.script import call_parse
from sneaker_classifier import SneakerClassifier
from sneaker_classifier.evaluate import lead
from sneaker_classifier.files import usable_cores
from sneaker_classifier.predict import likely, softmax
from sneaker_classifier.teach import give_way, known_shoes, look_at, taught_rows

# Names in the manifest that mean one model; piles of several models and single series are not among them
models = {'bitis_hunter':['other_bitis_hunter'], 'nmd_hu':['other_adidas_nmd_hu', 'adidas_nmd_hu'], 'astir':['other_adidas_astir'],
    'rs_x':['puma_rs_x', 'other_puma_rs_x'], 'air_jordan_13':['other_nike_air_jordan_13'], 'pureboost':['other_adidas_pureboost'],
    'pegasus':['other_pegasus', 'other_nike_pegasus'], 'adizero':['other_adizero'], 'blazer_low':['other_nike_blazer_low'],
    'triple_s':['other_balenciaga_triple_s'], 'new_balance_530':['other_530', 'new_balance_530'], 'ananas':['other_ananas']}
apart = {'other photos':'group', 'other shops':'source'}
least_asked = 3


def chosen(table, n, by, rng):
    "Rows to teach and rows to ask that share no value of `by`; None where there are too few"
    taught,rest = [],list(rng.permutation(table[by].unique()))
    while rest and len(taught)<n:
        new = table.index[table[by]==rest.pop()]
        taught += list(rng.permutation(new))[:n-len(taught)]
    asked = table.index[table[by].isin(rest)]
    return (taught, list(asked)) if len(taught)==n and len(asked)>=least_asked else None

def drawn(table, n, by, rng, k=4):
    "{model: rows to teach, rows to ask} of `k` models"
    found = {}
    for name in rng.permutation(table.model.unique()):
        if len(found)<k and (parts := chosen(table[table.model==name], n, by, rng)): found[name] = parts
    return found

def seen(clf, files):
    "Features and logits of photos"
    def look(file): return clf._look_twice(clf._one_core, file)[0]
    with ThreadPoolExecutor(usable_cores()) as pool: given = list(pool.map(look, files))
    return np.stack([o[-1] for o in given]), np.stack([o[0] for o in given])

class Answers:
    "What known rows and taught ones say of photos"
    def __init__(self, clf, logits, x, rows, beside):
        new = x@rows.weights.T+rows.bias
        z = np.concatenate([give_way(new, logits, rows.push), logits], 1) if beside else new
        self.order,scores = np.argsort(-z, 1),softmax(z, rows.temperature)
        first,k = self.order[:,0],new.shape[1]
        limit = np.where(first<k, rows.sure_from, clf.card['sure_from'])
        self.first,self.taught = first,first<k
        clear = self.taught | (lead(z)>=clf.card.get('lead_from', 0))
        self.sure = likely(scores.max(1)) & (z.max(1)>=limit) & clear

def one_draw(clf, table, known, others, familiar, n, by, beside, rng):
    "Shares of one draw"
    parts = drawn(table, n, by, rng)
    looks,which = [o for t,_ in parts.values() for o in table.look[t]],np.repeat(np.arange(len(parts)), n)
    rows = taught_rows(looks, which, known, clf.card['temperature'], beside, .95)
    def asked(x, z): return Answers(clf, z, x, rows, beside)
    found,three,sure,right = [],[],[],[]
    for k,(_,ask) in enumerate(parts.values()):
        a = asked(np.stack([o.features[0] for o in table.look[ask]]), np.stack([o.logits[0] for o in table.look[ask]]))
        found.append((a.first==k).mean())
        three.append((a.order[:,:3]==k).any(1).mean())
        sure += list(a.sure & a.taught)
        right += list((a.first==k)[a.sure & a.taught])
    model,x,z = others
    a = asked(*(o[~np.isin(model, list(parts))] for o in (x, z)))
    shares = dict(found=np.mean(found), three=np.mean(three), sure=np.mean(sure), hits=sum(right), named=len(right),
        strangers=a.sure.mean(), strangers_taught=(a.sure & a.taught).mean())
    if not beside: return shares
    x,z,y = familiar
    before,after = z.argmax(1)==y,asked(x, z)
    return {**shares, 'lost':(before & after.taught).mean(), 'over':after.taught.mean()}

def rows_of(clf, table, known, others, familiar, draws):
    for beside in True,False:
        for n in 5,10:
            for where,by in apart.items():
                d = pd.DataFrame([one_draw(clf, table, known, others, familiar, n, by, beside, np.random.default_rng(i))
                    for i in range(draws)])
                what = f"{n} photos of each of 4 models, {'beside the 50' if beside else 'alone'}, {where}: "
                told = {'found':d.found, 'among the first three':d.three, 'called sure':d.sure, 'neither kind, called sure':d.strangers,
                    'neither kind, called sure with a taught name':d.strangers_taught}
                if beside: told |= {'known, named rightly before and lost to the taught':d.lost, 'known, named as one of the taught':d.over}
                for name,o in told.items(): yield dict(what=what+name, ours=100*o.mean(), unit='%', remark=f'mean of {draws} draws')
                if d.named.sum():
                    yield dict(what=what+'right when sure', ours=100*d.hits.sum()/d.named.sum(), unit='%', pictures=int(d.named.sum()))

def fitting(clf, table, known):
    "Seconds until ten models are known, once twenty photos of each were looked at; models that have fewer are left out"
    some = table.groupby('model').head(20)
    some = some[some.model.isin(some.model.value_counts().index[:10])]
    began = time.perf_counter()
    taught_rows(list(some.look), some.model.factorize()[0], known, clf.card['temperature'], True, .95)
    return dict(what='ten models of 20 photos fitted beside the 50', ours=time.perf_counter()-began, unit='s', peer='limit', theirs=2,
        remark=f'{len(some)} photos')

def looked_at(clf, table):
    "A row for each different photo, with what teaching keeps of it"
    photos = {name:list(table.file[table.label.isin(labels)]) for name,labels in models.items()}
    looks,_ = look_at(clf, photos)
    found = pd.DataFrame(dict(file=[o.file for o in looks], model=[o.label for o in looks], look=looks))
    return found.merge(table[['file', 'group', 'source']], on='file')

def prepared(clf, model, folder):
    "Photos to teach, what the model has kept, photos of neither kind, and photos of known models from other shops"
    others,nothing,train,elsewhere = (not_learned(folder, o, model) for o in ('other_models', 'nothing', 'train', 'elsewhere'))
    name_of = {label:name for name,labels in models.items() for label in labels}
    names = np.array([*others.label.map(name_of).fillna(''), *['']*len(nothing)])
    fresh = pd.concat([train[train.source!=train.source.mode()[0]], elsewhere[elsewhere['view']=='whole']])
    fresh = fresh[fresh.label.isin(clf.labels)]
    familiar = *seen(clf, fresh.file), fresh.label.map(clf.labels.index).to_numpy()
    return looked_at(clf, listed(folder, 'other_models')), known_shoes(clf), (names, *seen(clf, [*others.file, *nothing.file])), familiar

@call_parse
def main(
    photos:str,              # Folder with a manifest
    model:str=str(bundled),  # Model folder
    draws:int=20
):
    clf = SneakerClassifier.load(model)
    table,known,*asked = prepared(clf, model, photos)
    record('quality_teach', [fitting(clf, table, known), *rows_of(clf, table, known, *asked, draws)])
