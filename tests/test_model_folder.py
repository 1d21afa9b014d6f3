"A model folder may come from anywhere: nothing in it runs, what it says of itself can be rebuilt, and damage has one sentence"
import hashlib, json, pickle, shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
import torch
from fastai.callback.hook import hook_output
from huggingface_hub import ModelCard

from conftest import command, root
from sneaker_classifier.data import augmentation, learned_ids, picture_id
from sneaker_classifier.evaluate import cross_fitted, false_certainty, unknown_logits, validation_logits, validation_report
from sneaker_classifier.export import _rows_halfway, _split, half_stored, load_sneaker_learner, model_card, onnx_bytes
from sneaker_classifier.images import fit_square, open_image, subject_box
from sneaker_classifier.predict import ModelError, SneakerClassifier
from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.settings import load_settings


class Touch:
    "Unpickled, it writes a file"
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)


@pytest.fixture
def folder(trained, tmp_path):
    "A copy of a model folder, to be damaged"
    return Path(shutil.copytree(trained[0], tmp_path/'model'))


def learned_photos(folder, photos):
    "The photos that the model learned from"
    ids = set(learned_ids(folder))
    return [f for f in sorted(photos.glob('*/*.jpg')) if picture_id(f) in ids]


def card_of(folder): return json.loads((folder/'model.json').read_text(encoding='utf-8'))


def describe(folder, name):
    "Write the hash of a file into model.json, as its owner could"
    card = card_of(folder)
    card['sha256'][name] = hashlib.sha256((folder/name).read_bytes()).hexdigest()
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')


def test_exchanged_pickle_is_never_run(folder, tmp_path):
    trace = tmp_path/'it_ran'
    evil = pickle.dumps(Touch(trace))
    pickle.loads(evil)
    assert trace.exists(), 'the pickle should be dangerous, or the test shows nothing'
    trace.unlink()

    (folder/'sneaker_model.pkl').write_bytes(evil)
    with pytest.raises(ModelError, match='sha256 differs. It was not opened'): load_sneaker_learner(folder)
    SneakerClassifier.load(folder).predict(draw_shoe('puma_suede', size=64))

    assert not trace.exists()


def test_pickle_that_nobody_describes_is_never_run(folder, tmp_path):
    (folder/'sneaker_model.pkl').write_bytes(pickle.dumps(Touch(tmp_path/'it_ran')))
    card = card_of(folder)
    del card['sha256']['sneaker_model.pkl']
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')

    with pytest.raises(ModelError, match='sha256 differs'): load_sneaker_learner(folder)
    assert not (tmp_path/'it_ran').exists()


def test_learner_comes_back(folder):
    with pytest.warns(UserWarning, match='runs the program in it'): learn = load_sneaker_learner(folder)
    clf = SneakerClassifier.load(folder)
    assert list(learn.dls.vocab)==clf.labels

    shoe = folder/'shoe.png'
    draw_shoe('puma_suede', seed=5, size=64).save(shoe)
    assert learn.predict(str(shoe))[0]==clf.predict(shoe).label


@pytest.mark.filterwarnings('ignore:Reading')
def test_missing_or_broken_pickle_has_one_sentence(folder):
    path = folder/'sneaker_model.pkl'
    path.write_bytes(b'no pickle')
    describe(folder, path.name)
    with pytest.raises(ModelError, match='cannot be read with the libraries'): load_sneaker_learner(folder)

    path.unlink()
    with pytest.raises(ModelError, match='There is no sneaker_model.pkl'): load_sneaker_learner(folder)


def test_pickle_has_the_weights_once(folder):
    "At half precision, and without the ImageNet weights that timm remembers"
    weights = (folder/'model.safetensors').stat().st_size
    assert (folder/'sneaker_model.pkl').stat().st_size < weights*1.1


@pytest.mark.filterwarnings('ignore:Reading')
def test_half_the_file_and_the_same_answers(folder):
    learn = load_sneaker_learner(folder)
    full = onnx_bytes(learn, learn.recipe)
    small = half_stored(full)
    assert len(small)<.55*len(full) and (folder/'model.onnx').stat().st_size<1.01*len(small)
    assert str(root).encode() not in small and half_stored(small)==small

    shoes = np.stack([draw_shoe(label, seed=i, size=64) for label in learn.dls.vocab for i in range(5)])
    expected,answers = (ort.InferenceSession(o).run(None, {'pictures':shoes}) for o in (full, small))

    assert (expected[0].argmax(1)==answers[0].argmax(1)).all()
    for a,b in zip(expected, answers): assert b.dtype==np.float32 and a==pytest.approx(b, abs=.05)


@pytest.mark.filterwarnings('ignore:Reading')
def test_features_are_the_roots_of_what_is_found_halfway(folder):
    clf,(body,_) = SneakerClassifier.load(folder),load_sneaker_learner(folder).model.eval()
    cfg,halfway = body.model.pretrained_cfg,body.model.blocks[5][3].bn1
    mean,std = (torch.tensor(cfg[o]).view(1, 3, 1, 1) for o in ('mean', 'std'))

    for i in range(4):
        shoe = draw_shoe('puma_suede', seed=i, size=64)
        square = torch.tensor(np.asarray(fit_square(shoe, 64, subject_box(shoe))))
        with hook_output(halfway) as seen, torch.no_grad(): body((square.permute(2, 0, 1)[None]/255-mean)/std)
        features = clf.features(shoe)

        assert features.dtype==np.float32
        assert features**2==pytest.approx(seen.stored[0].mean((1, 2)).numpy(), abs=.03)


@pytest.mark.filterwarnings('ignore:Reading')
def test_what_is_seen_halfway_has_a_say(folder):
    "By itself it would name most drawings rightly"
    clf,(body,head) = SneakerClassifier.load(folder),load_sneaker_learner(folder).model.eval()
    n,(weights,bias) = body.model.num_features,(o.detach().numpy() for o in head[-1].parameters())
    said = {label:[clf.features(draw_shoe(label, seed=i, size=64))@weights[:,n:].T for i in range(8)] for label in clf.labels}

    assert weights.shape==(len(clf.labels), n+len(clf.features(draw_shoe('puma_suede', size=64)))) and bias.shape==(len(weights),)
    assert np.mean([clf.labels[o.argmax()]==label for label,row in said.items() for o in row])>.5


def test_a_second_opinion_of_two_classes_among_three():
    "scikit-learn has one row for two classes, and none for a class of which it has seen nothing"
    learn = SimpleNamespace(dls=SimpleNamespace(vocab=['a', 'b', 'c']))
    seen = np.eye(2).repeat(10, 0)

    rows = _rows_halfway(learn, seen, ['a']*10+['c']*10)

    assert not rows[1].any() and torch.equal(rows[0], -rows[2])
    assert ((torch.tensor(seen).float()@rows.T).argmax(1)==torch.tensor([0, 2]).repeat_interleave(10)).all()


def test_a_network_without_features(folder):
    "As earlier versions wrote them: everything else works"
    network,shoe = onnx.load(folder/'model.onnx'),draw_shoe('puma_suede', seed=5, size=64)
    expected = SneakerClassifier.load(folder).predict(shoe)
    del network.graph.output[2]
    onnx.save(network, folder/'model.onnx')
    describe(folder, 'model.onnx')

    clf = SneakerClassifier.load(folder)

    assert clf.predict(shoe)==expected and clf.evidence(shoe).max()==1
    with pytest.raises(ModelError, match='written by an earlier version'): clf.features(shoe)


def test_bundled_folder_is_small():
    size = sum(o.stat().st_size for o in SneakerClassifier.load().folder.iterdir())
    assert size<=30e6, f'{size/1e6:.1f} MB'


def test_arrays_are_read_without_pickle(folder, tmp_path):
    n = len(SneakerClassifier.load(folder).labels)
    evil = np.empty(1, object)
    evil[0] = Touch(tmp_path/'it_ran')
    good = dict(logits=np.zeros((3, n)), targets=np.zeros(3, int), groups=np.arange(3))

    for bad in (dict(logits=evil), dict(targets=np.full(3, n)), dict(groups=np.arange(2)), dict(logits=np.zeros((3, n+1))),
            dict(unknown=np.zeros((3, n+1)))):
        np.savez(folder/'validation.npz', **{**good, **bad})
        with pytest.raises(ModelError, match='damaged'): validation_logits(SneakerClassifier.load(folder))
    assert not (tmp_path/'it_ran').exists()

    (folder/'validation.npz').write_bytes(b'PK')
    with pytest.raises(ModelError, match='damaged'): validation_logits(SneakerClassifier.load(folder))

    (folder/'validation.npz').unlink()
    with pytest.raises(ModelError, match='There is no validation.npz'): validation_logits(SneakerClassifier.load(folder))


def test_scores_can_be_rebuilt_without_the_pictures(folder):
    clf = SneakerClassifier.load(folder)
    report,m = validation_report(clf),clf.card['metrics']
    assert (report.metrics['pictures'], report.metrics['top1'], report.metrics['brand'])==(m['pictures'], m['top1'], m['brand'])

    logits,targets,groups = validation_logits(clf)
    brands = np.array([c.brand for c in clf.classes.values()])
    again = cross_fitted(logits, targets, groups, brands, load_settings().evaluation.precision_when_sure, unknown_logits(clf))
    assert again['coverage']==pytest.approx(clf.card['cross_fitted']['coverage'], abs=.1)
    assert again['ece']==pytest.approx(clf.card['cross_fitted']['ece'], abs=.02)
    assert again['brand_coverage']==pytest.approx(clf.card['cross_fitted']['brand_coverage'], abs=.1)
    assert set(again)<=set(m)


def test_model_card_is_made_from_model_json_alone(folder):
    card = card_of(folder)
    assert (folder/'MODEL_CARD.md').read_text(encoding='utf-8')==model_card(card)

    page = model_card({**card, 'false_certainty':dict(pictures=65, sure=5, share=.0769, interval=(.033, .168), bad=0)})
    assert '7.7% (3.3% to 16.8%) of 65' in page
    for c in card['classes']: assert f"{c['brand']} {c['model']}" in page


def test_names_in_a_card_mean_nothing_in_markdown(folder):
    card = card_of(folder)
    for row in card['per_class']: row['class'] = '<script>x</script>|[a](javascript:b)\n# c'
    card['classes'][0]['model'] = '<img src=x>'
    page = model_card(card)
    for bad in ('<script', '<img', '[a](', '\n# c'): assert bad not in page.replace('\\<', '').replace('\\[', ''), bad


def test_card_tells_how_it_was_made(folder, quick_settings):
    card,training = card_of(folder),load_settings(quick_settings).training

    for name,value in vars(training).items(): assert card['provenance'][name]==value, name
    assert card['detail']==training.detail
    assert card['provenance']['start_licence']=='apache-2.0'
    assert sum(sum(c['pictures']) for c in card['classes'])==sum(card['provenance']['pictures'].values())
    for name,sha256 in card['sha256'].items(): assert hashlib.sha256((folder/name).read_bytes()).hexdigest()==sha256


def test_pictures_of_the_starting_model_stay_on_the_list(photos, folder, tmp_path):
    files = sorted(o for o in (photos/'puma_suede').iterdir() if o.stat().st_size>1000)
    items = pd.DataFrame(dict(file=files[:4], is_valid=[False, False, True, True]))
    pd.DataFrame(dict(id=[picture_id(files[0]), 'a'*32, 'b'*32], is_valid=[False, False, True])).to_csv(folder/'split.csv', index=False)

    split = _split(items, SimpleNamespace(folder=folder))

    assert set(split.id[~split.is_valid])=={picture_id(files[0]), picture_id(files[1]), 'a'*32}
    assert split.id.is_unique


def test_evaluate_command_measures_doubt(folder, photos, tmp_path):
    strangers = tmp_path/'strangers'/'karhu'
    strangers.mkdir(parents=True)
    for i in range(4): draw_shoe('karhu fusion', seed=i, size=64).save(strangers/f'{i}.png')
    (strangers/'notes.txt').write_text('no picture')

    said = command('evaluate', '--model', folder, '--data', photos, '--unknown', tmp_path/'strangers').stdout

    left_out = card_of(folder)['provenance']['pictures']['train']
    assert f'{left_out} that it was trained on' in said and 'Calibration error' in said
    assert 'Of 4 pictures of none of its classes' in said and '1 cannot be used' in said

    assert false_certainty(SneakerClassifier.load(folder), strangers)['pictures']==4
    command('evaluate', '--model', folder, '--data', photos, '--unknown', tmp_path/'nowhere', ok=False)


@pytest.mark.parametrize('name', ['sure_from', 'lead_from', 'brand_sure_from'])
@pytest.mark.parametrize('limit', [1e9, 'much', float('nan'), None])
def test_a_damaged_threshold_is_refused(folder, limit, name):
    (folder/'model.json').write_text(json.dumps({**card_of(folder), name:limit}), encoding='utf-8')
    with pytest.raises(ModelError, match='damaged'): SneakerClassifier.load(folder)


def test_a_folder_of_another_version_is_refused(folder):
    (folder/'model.json').write_text(json.dumps({**card_of(folder), 'format':2}), encoding='utf-8')
    with pytest.raises(ModelError, match='made by another version'): SneakerClassifier.load(folder)


@pytest.mark.parametrize('old, new', [('"puma_suede"', '"../../puma"'), ('"detail": 64', '"detail": "64"'),
    ('"temperature"', '"temper"'), ('{', '')])
def test_a_damaged_card_is_refused(folder, old, new):
    text = (folder/'model.json').read_text(encoding='utf-8')
    assert old in text

    (folder/'model.json').write_text(text.replace(old, new, 1), encoding='utf-8')

    with pytest.raises(ModelError, match='damaged'): SneakerClassifier.load(folder)


@pytest.mark.parametrize('number, side', [(3, 'size'), (4, 'detail'), (5, 'detail')])
def test_earlier_formats_are_read_as_well(folder, number, side):
    "In format 3 the side of the square was called size; before 5 a brand was sure where its model was, before 6 any lead was enough"
    card,shoe = card_of(folder),draw_shoe('puma_suede', seed=5, size=64)
    (folder/'model.json').write_text(json.dumps({**card, 'lead_from':0}), encoding='utf-8')
    answer = SneakerClassifier.load(folder).predict(shoe)
    del card['lead_from']
    if number<5: del card['brand_sure_from']
    old = {side if k=='detail' else k:v for k,v in card.items()}

    (folder/'model.json').write_text(json.dumps({**old, 'format':number}), encoding='utf-8')

    clf = SneakerClassifier.load(folder)
    assert clf.card=={**card, 'format':max(number, 4)}
    assert clf.predict(shoe)==(answer if number==5 else replace(answer, brand_sure=answer.sure))


def test_card_tells_what_changed_pictures_by_chance(folder):
    "From the transforms of the Learner; a model from before has no such entry, and its card no such part"
    card = card_of(folder)
    changes,heading = card['provenance']['augmentation'],'Changed by chance in training'
    assert {'Backdrop', 'Degrade', 'flip_mat', 'rotate_mat', 'zoom_mat'}<=set(changes)
    assert changes['rotate_mat']['max_deg']==augmentation['max_rotate'] and 'Normalize' not in changes
    assert sum(o['drawn'] for o in card['classes'])==pytest.approx(1, abs=1e-3)
    assert heading in model_card(card) and 'share of training' in model_card(card)

    del card['provenance']['augmentation']
    for o in card['classes']: del o['drawn']

    assert heading not in model_card(card) and 'share of training' not in model_card(card)


def test_header_is_what_the_hub_reads(folder):
    page,metrics = ModelCard((folder/'MODEL_CARD.md').read_text(encoding='utf-8')),card_of(folder)['metrics']
    assert page.data.library_name=='onnx' and page.data.pipeline_tag=='image-classification'
    assert [o.metric_value for o in page.data.eval_results]==[metrics[o] for o in ('top1', 'top3', 'brand')]
    assert page.text.strip().startswith('# Model card')


def test_sure_is_familiar_likely_and_clear(folder):
    card = {**card_of(folder), 'sure_from':1., 'lead_from':3., 'temperature':1.}
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')
    clf = SneakerClassifier.load(folder)
    for logits,sure in (([9,0,0,0], True), ([9,9,9,9], False), ([.9,-99,-99,-99], False), ([1,-99,-99,-99], True),
            ([4,1,-9,-9], True), ([4,1.1,-9,-9], False), ([9,5,5,5], True)):
        assert clf.answer(np.array(logits)*1.).sure==sure, logits


@pytest.mark.parametrize('logits, sure, brand_sure', [([-9,2,1.9,-9], False, True), ([-9,.9,.9,-9], False, False),
    ([0,2,2,-9], False, False), ([-9,6,-9,-9], True, True), ([5.5,5.6,-9,-9], True, True), ([-9,1.9,-9,2], False, False)])
def test_a_brand_is_sure_where_it_is_certain_and_familiar(folder, logits, sure, brand_sure):
    "The classes are of Adidas, Nike, Nike and Puma; a sure model is of a sure brand"
    card = {**card_of(folder), 'sure_from':5., 'lead_from':0., 'brand_sure_from':1., 'temperature':1.}
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')

    p = SneakerClassifier.load(folder).answer(np.array(logits)*1.)

    assert (p.sure, p.brand_sure)==(sure, brand_sure) and p.brand_confidence==p.brands[p.brand]
    if logits[1]-logits[2]<1: assert p.candidates==('Air Force 1', 'Court Vision')


def test_a_new_model_doubts_details(folder, photos):
    details = card_of(folder)['details']
    assert details['pictures']==card_of(folder)['provenance']['pictures']['validation'] and details['share']<=.1
    assert 'Small parts of those pictures' in (folder/'MODEL_CARD.md').read_text(encoding='utf-8')

    clf,rng = SneakerClassifier.load(folder),np.random.default_rng(0)
    def part(im):
        side = rng.integers(10, 23)   # as in training
        x,y = rng.integers(6, 58-side, 2)
        return im.crop((x, y, x+side, y+side))

    shoes = [open_image(f) for f in learned_photos(folder, photos)]
    of_shoes,of_details = ([p.confidence for p in clf.predict_many(o)] for o in (shoes, [part(o) for o in shoes*4]))

    # So small a network, trained for a minute, is sure of little; of parts it should be clearly less so.
    assert np.mean(of_details)<.8*np.mean(of_shoes)
