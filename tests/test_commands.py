"The commands, from labelled photos to an answer, and what they say when something is wrong"
import json, os, shutil

import pytest
from conftest import command

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.samples import draw_shoe, make_samples


def test_train_then_ask(trained, photos, tmp_path):
    out,done = trained
    assert {o.name for o in out.iterdir()}=={'model.onnx', 'model.json', 'MODEL_CARD.md', 'model.safetensors', 'sneaker_model.pkl', 'split.csv', 'validation.npz', 'squares'}
    for bad in ('notes.jpg', 'empty.png'): assert bad in done.stdout
    assert '80 pictures of 4 classes, 2 left out' in done.stdout
    clf = SneakerClassifier.load(out)
    assert clf.labels==['adidas_superstar', 'nike_air_force_1', 'nike_court_vision', 'puma_suede']
    assert clf.brands==['Adidas', 'Nike', 'Puma']
    draw_shoe('puma_suede', seed=999).save(tmp_path/'shoe.png')
    said = command('predict', tmp_path/'shoe.png', '--model', out, cwd=tmp_path).stdout
    assert str(clf.predict(tmp_path/'shoe.png')) in said


def test_learns(trained, tmp_path):
    fresh = make_samples(tmp_path, n=15, size=64, seed=7)
    answers = SneakerClassifier.load(trained[0]).predict_many(sorted(fresh.rglob('*.jpg')))
    right = [p.label==f.parent.name for p,f in zip(answers, sorted(fresh.rglob('*.jpg')))]
    assert sum(right)/len(right)>0.4 # 0.25 would be guessing


def test_evaluate_leaves_out_what_was_trained_on(trained, photos):
    said = command('evaluate', '--data', photos, '--model', trained[0]).stdout
    assert '16 pictures measured; 64 that it was trained on and 2 that cannot be used left out' in said
    assert 'Nike Air Force 1' in said


def test_split_is_recorded_with_the_model(trained):
    card = json.loads((trained[0]/'model.json').read_text(encoding='utf-8'))
    assert card['provenance']['pictures']=={'train':64, 'validation':16, 'brand_only':0}
    assert card['metrics']['pictures']==16


@pytest.mark.parametrize('args, words', [
    (('train', '--data', 'nowhere', '--out', 'x'), 'nowhere is not a folder'),
    (('predict', 'photo.jpg', '--model', 'nowhere'), 'nowhere is not a model folder'),
    (('evaluate', '--data', 'nowhere'), 'nowhere is not a folder'),
    (('app', '--model', 'nowhere'), 'nowhere is not a model folder')])
def test_one_clear_line(args, words, tmp_path):
    done = command(*args, cwd=tmp_path, ok=False)
    last = done.stderr.strip().splitlines()[-1]
    assert words in last


def test_wrong_setting_stops_a_command(quick_settings, photos, tmp_path):
    text = quick_settings.read_text(encoding='utf-8')
    (tmp_path/'settings.ini').write_text(text.replace('epochs = 16', 'epochs = eight'), encoding='utf-8')
    done = command('train', '--data', photos, '--out', tmp_path/'m', cwd=tmp_path, ok=False)
    assert "[training] epochs = 'eight' cannot be used. It should be a whole number from 1 to 1000." in done.stderr
    assert not (tmp_path/'m').exists()


@pytest.mark.skipif(os.name=='nt', reason='Windows has no such folder names')
def test_folder_names_do_no_harm(tmp_path, quick_settings):
    photos = make_samples(tmp_path/'photos', n=6, size=64)
    evil = photos/'<img src=x onerror=alert(1)>'
    shutil.copytree(photos/'puma_suede', evil)
    draw_shoe('karhu_fusion', seed=1, size=64).save(evil/'0000.jpg')
    out = tmp_path/'model'
    command('train', '--data', photos, '--out', out, '--settings', quick_settings)
    assert 'img_src_x_onerror_alert_1' in SneakerClassifier.load(out).labels
    assert not any('<' in f.read_text(encoding='utf-8') for f in out.glob('*.[jc]s*'))
    shutil.copytree(photos/'puma_suede', photos/'con')
    done = command('train', '--data', photos, '--out', out, '--settings', quick_settings, ok=False)
    assert "The folder 'con' cannot be a label" in done.stderr
