"New classes from a few photos: what is taught, what is refused, and what a saved folder is worth"
import io, json, shutil, subprocess, sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession
from PIL import Image

from conftest import root
from made import jpeg
from sneaker_classifier import SneakerClassifier
from sneaker_classifier.app import InUse, Teaching
from sneaker_classifier.data import labelled_items, met_before
from sneaker_classifier.files import SneakerError
from sneaker_classifier.guard import upload_folder
from sneaker_classifier.images import fit_square
from sneaker_classifier.predict import ModelError
from sneaker_classifier.samples import draw_shoe, make_samples
from sneaker_classifier.teach import (_strangers, _sure_from, Look, give_way, known_shoes, look_at, photos_in, sneaker_teach,
    taught_rows, with_head)

new = ['my_runner', 'my_boot']


@pytest.fixture(scope='module')
def clf(trained): return SneakerClassifier.load(trained[0])

@pytest.fixture(scope='module')
def shoes(): return {o:[draw_shoe(o, seed, 64) for seed in range(12)] for o in new}

@pytest.fixture(scope='module')
def taught(clf, shoes): return clf.teach(shoes)

@pytest.fixture(scope='module')
def folder(taught, tmp_path_factory):
    out = tmp_path_factory.mktemp('taught')/'mine'
    taught.save(out)
    return out


def test_what_was_known_stays_as_it_was(clf, taught):
    shoe = draw_shoe('puma_suede', 500, 64)
    before,after = (o._run(o._one_core, np.asarray(shoe.resize((64, 64)))) for o in (clf, taught))
    assert np.allclose(before[0], after[0][:4], atol=1e-4) and np.allclose(before[2], after[2], atol=1e-4)
    assert taught.labels==[*clf.labels, *new] and taught.card['temperature']==clf.card['temperature']
    assert taught.card['sure_from']==clf.card['sure_from']


def test_a_logit_is_the_mean_of_its_map(taught):
    logits,maps,_ = taught._run(taught._one_core, np.asarray(draw_shoe('my_boot', 500, 64)))
    assert np.allclose(logits, maps.mean((1, 2)), atol=1e-3)
    best = taught.labels[logits.argmax()]
    assert taught.evidence(draw_shoe('my_boot', 500, 64), best).max()==pytest.approx(1)


def test_taught_alone_is_told_apart():
    "By the bundled network, since the small one has hardly learned to see"
    alone = SneakerClassifier.load().teach({o:[draw_shoe(o, seed, 224) for seed in range(12)] for o in new}, beside=False)
    asked = [(o, draw_shoe(o, seed, 224)) for o in new for seed in range(200, 220)]
    right = np.mean([alone.predict(im).label==o for o,im in asked])
    assert alone.labels==new and right>.7, right


def test_few_photos_are_never_sure(clf):
    alone = clf.teach({o:[draw_shoe(o, seed, 64) for seed in range(5)] for o in new}, beside=False)
    assert not any(alone.predict(draw_shoe(o, seed, 64)).sure for o in new for seed in range(5))
    assert all('hardly ever be called sure' in str(o) and '5 photos are few' in str(o) for o in alone.lessons)


@pytest.mark.parametrize('strange, limit', [([], 8), ([7.5]*20, 8), ([8.5]*20, 8.5)])
def test_sure_is_what_strangers_do_not_reach(strange, limit):
    ours,yes = np.repeat([[9.], [8.]], 20, 0),np.full(40, True)
    assert _sure_from(ours, yes, yes, np.zeros((50, 1)), np.array(strange), .8)==limit


def test_strangers_are_photos_whose_class_was_left_out(clf, shoes):
    looks,_ = look_at(clf, {**shoes, 'my_clog':[draw_shoe('my_clog', seed, 64) for seed in range(6)]})
    labels,known = [*shoes, 'my_clog'],known_shoes(clf)
    which = np.array([labels.index(o.label) for o in looks])

    strange = _strangers(looks, which, known, clf.card['temperature'], True)
    rows = taught_rows(looks, which, known, clf.card['temperature'], True, .95)
    own = np.array([(rows.weights@o.features[0]+rows.bias)[k] for o,k in zip(looks, which)])/rows.temperature

    assert len(strange)==len(looks) and np.median(strange)<np.median(own)
    assert not len(_strangers(looks[:12], which[:12], known, clf.card['temperature'], True))


@pytest.mark.parametrize('new, push, said', [
    ([7., 6.], 3., [4.999, 4.998]),   # both lead too little: second and third, by a hair
    ([9., 7.], 1., [8., 6.]),         # lead by enough: first, by what is left
    ([9., 6.], 3., [6., 4.998]),      # one does
    ([4., 2.], 3., [4., 2.]),         # do not lead: as they were
    ([9., 7.], 0., [9., 7.])])
def test_a_new_name_that_leads_too_little_comes_second(new, push, said):
    assert np.allclose(give_way(np.array([new]), np.array([[5., 4.]]), push), [said])


def test_the_network_gives_way_as_the_rows_do(clf, shoes):
    looks,_ = look_at(clf, shoes)
    known,which = known_shoes(clf),np.array([[*shoes].index(o.label) for o in looks])
    rows = replace(taught_rows(looks, which, known, clf.card['temperature'], True, .95), push=2.)
    session,square = InferenceSession(with_head(clf._network, rows)),fit_square(shoes['my_boot'][0], clf.card['detail'])
    plain,given = (clf._run(o, square) for o in (clf._one_core, session))
    new = plain[-1]@rows.weights.T+rows.bias

    k = len(clf.labels)
    said = give_way(new[None], plain[0][None], 2.)[0]
    assert (said<new-.1).any(), 'nothing gave way'
    assert np.allclose(given[0], [*plain[0], *said], atol=.01)
    assert np.allclose(given[1][k:].mean((1, 2)), said, atol=.01), 'the logit is the mean of the map'


def test_saved_folder_is_one_like_any_other(folder, taught):
    loaded = SneakerClassifier.load(folder)
    shoe = draw_shoe('my_runner', 300, 64)
    assert str(loaded.predict(shoe))==str(taught.predict(shoe)) and loaded.predict(shoe).scores==taught.predict(shoe).scores
    assert loaded.classes['my_boot'].name=='My Boot' and loaded.card['provenance']['taught']['photos']=={o:12 for o in new}
    onnx.checker.check_model(onnx.load(folder/'model.onnx'))

    broken = Path(shutil.copytree(folder, folder.with_name('broken')))
    (broken/'model.onnx').write_bytes((broken/'model.onnx').read_bytes()[:-1])
    with pytest.raises(ModelError, match='sha256 differs'): SneakerClassifier.load(broken)


def test_a_taught_photo_never_measures(clf, tmp_path):
    photos = make_samples(tmp_path/'photos', new, n=6, size=64)
    clf.teach(photos_in(photos)[0]).save(tmp_path/'mine')
    Image.open(photos/'my_boot'/'0000.jpg').save(photos/'my_boot'/'saved_anew.jpg', quality=70)
    (photos/'my_boot'/'unseen.jpg').write_bytes(jpeg(draw_shoe('my_boot', 999, 64)))

    items = labelled_items(photos)
    met = met_before(items, tmp_path/'mine')
    name = [Path(o).name for o in items.file]
    assert met.before[[o!='unseen.jpg' for o in name]].eq('learned').all() and met.by[name.index('saved_anew.jpg')]=='looks'
    assert met.before[name.index('unseen.jpg')]==''


def test_copies_count_once_and_what_is_no_picture_has_a_line(clf, shoes):
    more = clf.teach({**shoes, 'my_boot':[*shoes['my_boot'], jpeg(shoes['my_boot'][3], 60), b'buy laces']})
    assert [o.photos for o in more.lessons]==[12, 12]
    assert len(more.left_out)==2 and 'copy' in more.left_out['photo 13'] and 'not a picture' in more.left_out['photo 14']


@pytest.mark.parametrize('given, beside, said', [
    ({}, True, 'nothing to teach'),
    ({'my_boot':3}, False, 'alone cannot be told'),
    ({'my_boot':1}, True, 'my_boot has 1 different photos'),
    ({'puma_suede':5}, True, 'puma_suede is a label that this model knows already'),
    ({'My Boot':5}, True, "'My Boot' cannot be a label"),
    ({'../out':5}, True, 'cannot be a label')])
def test_what_cannot_be_taught_has_a_sentence(clf, given, beside, said):
    with pytest.raises(SneakerError, match=said):
        clf.teach({o:[draw_shoe('my_boot', seed, 64) for seed in range(n)] for o,n in given.items()}, beside)


def test_one_photo_under_two_names(clf, shoes):
    with pytest.raises(SneakerError, match='under two names, my_runner and my_boot'):
        clf.teach({**shoes, 'my_boot':[*shoes['my_boot'], shoes['my_runner'][0]]})


def test_one_class_beside_the_known(clf, shoes): assert clf.teach({'my_boot':shoes['my_boot']}).labels[-1]=='my_boot'


def test_a_known_label_may_be_taught_alone(clf, shoes):
    assert clf.teach({'puma_suede':shoes['my_boot'], 'my_runner':shoes['my_runner']}, beside=False).labels==['puma_suede', 'my_runner']


def test_two_hundred_classes(clf):
    known,rng = known_shoes(clf),np.random.default_rng(0)
    n = known.features.shape[1]
    looks = [Look('', '', '', '', (), rng.normal(centre, .1, (2, n)), np.zeros((2, 4)), None)
        for centre in rng.normal(size=(200, n)) for _ in range(3)]
    rows = taught_rows(looks, np.repeat(np.arange(200), 3), known, 1., False, .95)
    network = with_head(clf._network, rows)
    assert onnx.load_from_string(network).graph.output[0].type.tensor_type.shape.dim[1].dim_value==200


def test_a_model_without_features(clf, trained, tmp_path, shoes):
    old = Path(shutil.copytree(trained[0], tmp_path/'old'))
    (old/'validation.npz').unlink()
    with pytest.raises(ModelError, match='validation.npz'): SneakerClassifier.load(old).teach(shoes)

def test_what_was_taught_is_not_taught_on(folder, shoes):
    with pytest.raises(ModelError, match='was taught itself'): SneakerClassifier.load(folder).teach(shoes, beside=False)


def test_advice(clf):
    same = []
    for seed in range(6):
        im = Image.new('RGB', (220, 220), 'white')
        im.paste(draw_shoe('my_boot', seed, 120), (50, 50))
        same.append(im)
    assert 'same plain background' in str(clf.teach({'my_boot':same}).lessons[0])


@pytest.mark.parametrize('n, way_on', [(6, 'With many more, train them'), (21, 'With so many photos training may find more')])
def test_command(n, way_on, trained, tmp_path):
    photos = make_samples(tmp_path/'photos', new, n=n, size=64)
    (photos/'my_boot'/'notes.jpg').write_text('buy laces')
    said = io.StringIO()
    with redirect_stdout(said): sneaker_teach(photos, tmp_path/'mine', trained[0], beside=True)
    assert 'notes.jpg is left out' in said.getvalue() and 'Classes taught: 2.' in said.getvalue()
    assert f'{way_on}: sneaker-train --data {photos}' in said.getvalue()
    assert SneakerClassifier.load(tmp_path/'mine').labels[-2:]==['my_boot', 'my_runner']

    with pytest.raises(SneakerError, match='nowhere is not a folder'): sneaker_teach('nowhere', tmp_path/'none', trained[0])
    assert not (tmp_path/'none').exists()


def test_teaching_needs_no_torch(trained, tmp_path):
    make_samples(tmp_path/'photos', new, n=5, size=64)
    code = f'''import sys
from sneaker_classifier.teach import sneaker_teach
sneaker_teach({str(tmp_path/'photos')!r}, {str(tmp_path/'mine')!r}, {str(trained[0])!r})
print(*[o for o in ('torch', 'fastai', 'sklearn', 'gradio') if o in sys.modules], 'end')'''
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1]=='end'


# The tab

@pytest.fixture
def tab(trained, tmp_path):
    start = SneakerClassifier.load(trained[0])
    return Teaching(SimpleNamespace(upload_file_set=set()), InUse(lambda: start, tmp_path/'taught'/'.model'), tmp_path/'taught')

def drop(tab, name, contents):
    "Drop files, as the browser sends them"
    files = []
    for i,data in enumerate(contents):
        path = Path(upload_folder().name)/f'upload{i}'/'x'/'photo.jpg'
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        files.append(SimpleNamespace(path=str(path), orig_name=f'{i}.jpg'))
    return tab.add(name, files)[0]

def jpegs(name, n): return [jpeg(draw_shoe(name, seed, 64)) for seed in range(n)]


def test_tab_teaches_is_kept_and_takes_back(tab, trained):
    said = drop(tab, 'My Boot', [*jpegs('my_boot', 5), b'laces'])
    assert 'my_boot' in said and '5.jpg taught nothing' in said and tab.names()==['my_boot']
    assert not [o for o in Path(upload_folder().name).rglob('*') if o.is_file()]

    assert 'knows 5 models' in tab.use() and tab.now().labels[-1]=='my_boot'
    again = InUse(lambda: SneakerClassifier.load(trained[0]), tab.model)
    assert again().labels[-1]=='my_boot' and again.now().labels==tab.now.now().labels

    *_,said = tab.take_back('my_boot')
    assert 'forgotten' in said and tab.now() is tab.now.now() and not [*tab.folder.rglob('*')]


def test_tab_goes_on_adding(tab):
    drop(tab, 'my boot', jpegs('my_boot', 4))
    assert '<td>7</td>' in drop(tab, 'My boot!', jpegs('my_boot', 7))


@pytest.mark.parametrize('name, said', [('', 'name first'), ('../..', 'name first'), ('Puma Suede', 'known already')])
def test_tab_refuses_a_name(tab, name, said):
    import gradio as gr
    with pytest.raises(gr.Error, match=said): drop(tab, name, jpegs('my_boot', 3))
    assert not tab.folder.exists() and not [o for o in Path(upload_folder().name).rglob('*') if o.is_file()]


def test_tab_says_when_there_are_too_few(tab):
    said = drop(tab, 'my_boot', jpegs('my_boot', 2))
    assert 'my_boot has 2 different photos' in said and tab.names()==['my_boot']


def test_what_was_taught_to_another_model_is_not_used(tab, trained, capsys):
    drop(tab, 'my_boot', jpegs('my_boot', 5))
    tab.use()
    card = json.loads((tab.model/'model.json').read_text(encoding='utf-8'))
    card['taught']['base_sha256'] = 'another'
    (tab.model/'model.json').write_text(json.dumps(card), encoding='utf-8')
    assert InUse(lambda: SneakerClassifier.load(trained[0]), tab.model)().labels==SneakerClassifier.load(trained[0]).labels
    assert 'taught to another model' in capsys.readouterr().out
