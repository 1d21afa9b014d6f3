"The model in use: named by a small file, changed between two questions, and never half"
import json, shutil, threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from gradio_client import Client, handle_file

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.app import OnePhoto, launch
from sneaker_classifier.files import write_whole
from sneaker_classifier.images import sanitize
from sneaker_classifier.predict import CurrentModel, ModelError, bundled
from sneaker_classifier.samples import draw_shoe


def called(models, name):
    "The bundled model, in which every brand has the name of the folder"
    shutil.copytree(bundled, models/name)
    card = json.loads((models/name/'model.json').read_text(encoding='utf-8'))
    for o in card['classes']: o['brand'] = name
    write_whole(models/name/'model.json', json.dumps(card))

def use(models, name): write_whole(models/'current', name)


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    models = tmp_path_factory.mktemp('models')
    for o in 'Alpha', 'Beta': called(models, o)
    use(models, 'Alpha')
    return models


@pytest.fixture(scope='module')
def shoe(tmp_path_factory):
    path = tmp_path_factory.mktemp('shoe')/'shoe.jpg'
    draw_shoe('puma_suede', seed=3, size=200).save(path)
    return path


def test_a_folder_of_models_stands_for_the_one_that_current_names(models, tmp_path):
    for name in 'Alpha', 'Beta\n', ' Alpha ':
        use(models, name)
        assert SneakerClassifier.load(models).folder==models/name.strip()
    use(tmp_path, 'sneakers')
    assert SneakerClassifier.load(tmp_path).folder==bundled


@pytest.mark.parametrize('name', ['', '.', '..', '../Alpha', '/Alpha', 'Gamma', 'a\0b', 'x'*5000, '\udcff'])
def test_current_leads_nowhere_else(models, tmp_path, name):
    shutil.copytree(models/'Alpha', tmp_path/'Alpha')
    (tmp_path/'inner').mkdir()
    write_whole(tmp_path/'inner'/'current', name.encode('utf-8', 'surrogateescape'))
    with pytest.raises(ModelError, match='It should be the name of a model folder'): SneakerClassifier.load(tmp_path/'inner')


def test_what_cannot_be_opened_leaves_the_one_before_at_work(models, capsys):
    use(models, 'Alpha')
    ask = CurrentModel(models)
    use(models, 'Gamma')
    assert {ask().brands[0] for _ in range(3)}=={'Alpha'}
    assert capsys.readouterr().err.count('Until then Alpha goes on answering')==1

    use(models, 'Beta')
    assert ask().brands==['Beta']
    (models/'current').unlink()
    assert ask().brands==['Beta']


def changing(models, stop):
    "Name one model and the other in turn until told to stop"
    n = 0
    while not stop.wait(.05):
        n += 1
        use(models, ('Alpha', 'Beta')[n%2])

def while_it_changes(models, ask, threads=4, each=12):
    "What threads hear while the model changes under them"
    stop = threading.Event()
    use(models, 'Alpha')
    other = threading.Thread(target=changing, args=(models, stop))
    other.start()
    try:
        with ThreadPoolExecutor(threads) as pool: return list(pool.map(ask, range(threads*each)))
    finally:
        stop.set()
        other.join()
        use(models, 'Alpha')


def test_an_answer_of_the_page_comes_from_one_model_or_the_other(models, shoe):
    use(models, 'Alpha')
    one,photo = OnePhoto(None, CurrentModel(models), 'data/feedback'),sanitize(shoe)

    pages = while_it_changes(models, lambda i: one.answered(photo)[0], each=6)

    brands = [{o for o in ('Alpha', 'Beta') if o in page} for page in pages]
    assert all(len(o)==1 for o in brands) and set.union(*brands)=={'Alpha', 'Beta'}


def test_no_request_fails_while_the_model_changes(models, shoe, tmp_path):
    use(models, 'Alpha')
    app = launch(models, port=0, feedback=tmp_path)
    try:
        clients = [Client(app.local_url, verbose=False, httpx_kwargs=dict(timeout=120)) for _ in range(4)]
        answers = while_it_changes(models, lambda i: clients[i%4].predict(handle_file(shoe), api_name='/predict'))
        assert [o['error'] for o in answers]==[None]*48
        assert {o['brand'] for o in answers}=={'Alpha', 'Beta'} and all(len(o['brands'])==1 for o in answers)

        use(models, 'Beta')
        assert {o['brand'] for o in clients[0].predict(api_name='/classes')}=={'Beta'}
    finally: app.close()
