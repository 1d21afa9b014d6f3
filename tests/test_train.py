"Training that is interrupted, runs out of memory, starts from a known model, or learns from brands alone"
import hashlib, json, random, time
from dataclasses import replace

import pytest
from conftest import needs
from local_web import LocalWeb

needs('fastai')
from sneaker_classifier.data import (Backdrop, OpenSquare, labelled_items, learned_by, open_all, picture_id, plain_background,
    read_split, sneaker_dls, split_items)
import numpy as np
import timm
import torch
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from fastai.vision.all import TensorImage
from PIL import Image
from safetensors.torch import load, load_file, save
from sneaker_classifier import network
from sneaker_classifier.files import WriteError, files_below
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.samples import make_samples
from sneaker_classifier.settings import SneakerClass, SneakerError, load_settings
from sneaker_classifier.network import sneaker_body
from sneaker_classifier.export import export_model
from sneaker_classifier.train import OutlierExposure, brand_hints, fit, grown, sneaker_learner, train, unknown_halves
from test_files import largest_file


@pytest.fixture(scope='module')
def quick():
    return replace(load_settings().training, architecture='resnet10t', start='scratch', epochs=3, detail=32, size=32, predict_size=32,
        batch_size=16)

@pytest.fixture(scope='module')
def items(tmp_path_factory): return split_items(labelled_items(make_samples(tmp_path_factory.mktemp('drawn'), n=20, size=48)))

def learner(items, training):
    set_seed(training.seed)
    return sneaker_learner(sneaker_dls(items, training), training)


class Fails(Callback):
    "Raises an error once, in a batch of the n-th epoch"
    order = 100
    def __init__(self, error, epoch): self.error,self.at = error,epoch
    def before_batch(self):
        if self.training and self.epoch==self.at:
            self.at = None
            raise self.error

class StopAfter(Callback):
    "Stops after so many epochs, of whatever cycle"
    order = 100
    def __init__(self, epochs): self.left = epochs
    def after_epoch(self):
        self.left -= 1
        if not self.left: raise KeyboardInterrupt

class Epochs(Callback):
    "Notes the epochs that were trained, and the size of their batches"
    def __init__(self): self.seen = []
    def after_batch(self):
        if self.training and self.iter==0: self.seen.append((self.epoch, len(self.y)))


def test_interrupted_training_goes_on_from_its_last_epoch(items, quick, tmp_path):
    with pytest.raises(KeyboardInterrupt): fit(learner(items, quick), quick, tmp_path, [Fails(KeyboardInterrupt(), 2)])
    saved, = tmp_path.iterdir()
    assert saved.name.endswith('-0002.pth')

    epochs = Epochs()
    fit(learner(items, quick), quick, tmp_path, [epochs])
    assert [e for e,_ in epochs.seen]==[2] and not list(tmp_path.iterdir())


def test_a_second_cycle_ends_in_the_mean_of_both_ends(items, quick, tmp_path):
    two = replace(quick, epochs=2, second_cycle=2)
    with pytest.raises(KeyboardInterrupt): fit(learner(items, two), two, tmp_path/'run', [StopAfter(3)])
    assert [o.name[-8:] for o in sorted((tmp_path/'run').iterdir())]==['0002.pth', '0003.pth']

    epochs = Epochs()
    learn = fit(learner(items, two), two, tmp_path/'run', [epochs], keep=True)
    assert [e for e,_ in epochs.seen]==[1]
    first,second = (torch.load(o, weights_only=False)['model'] for o in sorted((tmp_path/'run').iterdir()))
    weights = learn.model.state_dict()
    for name in 'conv1.0.weight', 'conv1.1.running_var':
        name = f'0.model.{name}'
        assert torch.allclose(weights[name], (first[name]+second[name])/2, atol=1e-6) and not torch.equal(first[name], second[name])


def test_other_settings_do_not_go_on_from_it(items, quick, tmp_path):
    with pytest.raises(KeyboardInterrupt): fit(learner(items, quick), quick, tmp_path, [Fails(KeyboardInterrupt(), 1)])
    epochs = Epochs()
    other = replace(quick, learning_rate=0.001)
    fit(learner(items, other), other, tmp_path, [epochs])
    assert [e for e,_ in epochs.seen]==[0,1,2] and not list(tmp_path.iterdir())


def test_too_little_memory_halves_the_batch_and_says_so(items, quick, tmp_path):
    mixed,epochs = replace(quick, mixup=0.3),Epochs()
    learn = learner(items, mixed)
    loss = learn.loss_func

    with pytest.warns(UserWarning, match='8 pictures make a batch'):
        fit(learn, mixed, tmp_path, [epochs, Fails(torch.OutOfMemoryError('CUDA out of memory'), 1)])

    assert epochs.seen==[(0,16), (1,8), (2,8)] and learn.loss_func is loss


def test_no_memory_at_all_is_one_clear_error(items, quick, tmp_path):
    class Never(Callback):
        def before_batch(self): raise torch.OutOfMemoryError('CUDA out of memory')
    with pytest.warns(UserWarning), pytest.raises(SneakerError, match='not enough memory'):
        fit(learner(items, quick), quick, tmp_path, [Never()])


def test_classes_come_by_the_square_root_of_their_size(items, quick):
    few = items[(items.label!='puma_suede') | items.is_valid | (items.groupby('label').cumcount()<4)].reset_index(drop=True)
    dls = sneaker_dls(few, quick)
    counts = np.bincount(torch.cat([y for _ in range(20) for _,y in dls.train]).cpu(), minlength=4)
    sizes = few[~few.is_valid].label.value_counts()[list(dls.vocab)].to_numpy()
    assert sizes.min()<sizes.max()/4 and counts/counts.sum()==pytest.approx(sizes**.5/(sizes**.5).sum(), abs=.04)


@pytest.mark.parametrize('batch_size, repeats, batches', [(500, 1, 1), (4, 3, 12)])
def test_few_pictures_may_be_a_batch(items, quick, batch_size, repeats, batches):
    few = split_items(items.groupby('label').head(5))
    dls = sneaker_dls(few, replace(quick, batch_size=batch_size, repeats=repeats))
    assert len(dls.train)==batches


def test_the_background_is_found_where_it_is_plain():
    grainy = Image.effect_noise((60, 40), 64).convert('RGB')
    grey = Image.new('RGB', (60, 40), 'whitesmoke')
    grey.paste('white', (20, 10, 40, 30))
    assert [(np.asarray(plain_background(o))>0).sum() for o in (grainy, grey)]==[0, 60*40-20*20]


def test_sneakers_start_takes_body_and_rows_of_known_labels(items, quick):
    known = replace(quick, start='sneakers', architecture='auto')
    learn,bundled = learner(items, known),SneakerClassifier.load()
    weights = load_file(bundled.folder/'model.safetensors')

    for i,label in enumerate(learn.dls.vocab):
        rows = learn.model[1][-1].weight
        assert torch.equal(rows[i], weights['1.3.weight'][bundled.labels.index(label), :rows.shape[1]].float())
    assert torch.equal(learn.model[0].model.conv_stem.weight, weights['0.model.conv_stem.weight'].float())


def test_what_the_start_learned_is_never_kept_back(items, tmp_path):
    learned = items.iloc[::2]
    (tmp_path/'split.csv').write_text('id,is_valid\n'+''.join(f'{picture_id(f)},False\n' for f in learned.file), encoding='utf-8')

    mask = learned_by(items, tmp_path)
    assert mask.sum()==40

    again = split_items(items, learned=mask)
    assert again.is_valid.sum()==8 and not again.is_valid[mask].any()   # a fifth of the other 40

    with pytest.raises(SneakerError, match='too few pictures to measure on'): split_items(items, learned=np.ones(len(items), bool))
    with pytest.raises(SneakerError, match='no split.csv'): learned_by(items, tmp_path/'none')
    for damaged in '', 'a,b\n1,2\n', 'id,is_valid\nabc,perhaps\n', 'id,is_valid\nabc,\n', '\0\0':
        (tmp_path/'split.csv').write_text(damaged, encoding='utf-8')
        with pytest.raises(SneakerError, match='is damaged'): learned_by(items, tmp_path)


def test_brand_hints(items, quick, tmp_path):
    brands = labelled_items(make_samples(tmp_path, ['nike_cortez', 'adidas_samba'], n=6, size=48))
    brands['label'] = brands.label.str.split('_').str[0]
    opener = OpenSquare(quick.detail)
    learn = learner(items, quick)
    hints = brand_hints(learn, brands, {}, quick, opener)
    assert hints.members.tolist()==[[True,False,False,False], [False,True,True,False]] # of Adidas; of Nike

    mixed = replace(quick, mixup=0.3, epochs=1)
    fit(learn, mixed, tmp_path, [hints])

    logits = torch.tensor([[0.,0,0,9]])
    hints.learn,hints.n,hints.hinted,hints.brand = type('L', (), dict(loss_grad=torch.tensor(1.)))(),1,logits,torch.tensor([1])
    hints.after_loss()
    assert abs(hints.learn.loss_grad-1+np.log(2/(3+np.exp(9))))<1e-5

    with pytest.raises(SneakerError, match="No class is of the brand 'karhu'"):
        brand_hints(learn, brands.assign(label='karhu'), {}, quick, opener)
    two = {o:SneakerClass(o, brand, 'x') for o,brand in zip(learn.dls.vocab, ('A+', 'A-', 'B', 'B'))}
    with pytest.raises(SneakerError, match='brands A[+] and A-'): brand_hints(learn, brands.assign(label='a'), two, quick, opener)


class Sizes(Callback):
    "Notes how many pictures the network sees, and how many answers are left for the loss"
    order = 1000
    def __init__(self): self.seen = set()
    def before_batch(self): self.n = len(self.x)
    def after_pred(self):
        if self.training: self.seen.add((self.n, len(self.pred)))


def test_pictures_without_a_shoe_join_each_batch_and_leave_it_again(items, quick, tmp_path):
    sizes = Sizes()
    fit(learner(items, quick), replace(quick, epochs=1), tmp_path, [sizes])
    assert sizes.seen=={(16+4, 16)}

    learn,brands = learner(items, quick),items.assign(label=items.label.str.split('_').str[0])
    hints = brand_hints(learn, brands, {}, quick, OpenSquare(quick.detail))
    sizes = Sizes()
    fit(learn, replace(quick, epochs=1, mixup=0.3), tmp_path, [hints, sizes])
    (seen,left), = sizes.seen
    assert left==16 and seen>16+4


def test_half_of_what_is_unknown_is_learned_and_the_other_half_measured(quick, tmp_path):
    photos = make_samples(tmp_path/'photos', n=8, size=48)
    strange = make_samples(tmp_path/'strange', ['karhu_fusion', 'fila_disruptor'], n=8, size=48)
    settings = replace(load_settings(), training=replace(quick, epochs=1))

    learn,items,_ = train(photos, tmp_path/'m', settings, unknown=strange)
    card = export_model(learn, items, tmp_path/'m', settings).card

    halves = items.attrs['unknown']
    assert len(halves['learned'])==len(halves['measured'])==8 and not set(halves['learned'])&set(halves['measured'])
    split = read_split(tmp_path/'m').set_index('id').is_valid
    assert [split[picture_id(o)] for name in ('learned', 'measured') for o in halves[name]]==[False]*8+[True]*8
    assert card['provenance']['pictures']['unknown']==card['false_certainty']['pictures']==8
    assert set(learn.dls.vocab)=={o.name for o in photos.iterdir()}


def test_a_group_of_unknown_pictures_stays_on_one_side(tmp_path):
    items = labelled_items(make_samples(tmp_path, ['karhu_fusion'], n=12, size=48)).assign(group=list('aaaabbbbcccc'))
    halves = unknown_halves(items)
    assert halves.groupby('group').is_valid.nunique().eq(1).all() and halves.is_valid.nunique()==2

    with pytest.raises(SneakerError, match='two groups at least'): unknown_halves(items.assign(group='a'))


def test_pictures_grow_to_their_whole_size():
    for side,epochs in ((160, 10), (64, 3), (100, 7), (48, 2), (224, 1)):
        sizes = [grown(side, o, epochs) for o in range(epochs)]
        assert sizes==sorted(sizes) and sizes[-1]==side and min(sizes)>=min(side, 64)


def test_low_logits_cost_least_for_pictures_without_a_shoe_and_most_for_a_shoe():
    exposure = OutlierExposure()
    def cost(shoe, nothing):
        exposure.learn = type('L', (), dict(loss_grad=torch.tensor(0.), pred=torch.tensor([shoe])))()
        exposure.pred,exposure.nothing = exposure.learn.pred,torch.tensor([nothing])
        exposure.after_loss()
        return float(exposure.learn.loss_grad)

    low,even,high = [-3.,-3,-3,-3],[0.,0,0,0],[4.,-3,-3,-3]
    assert cost(high, low)<cost(high, even)<cost(high, high) and cost(high, low)<cost(even, low)<cost(low, low)
    assert cost(even, even)==pytest.approx(exposure.weight*(np.log1p(1/4)+np.log1p(4)+np.log(4)), abs=1e-5)


def test_only_photos_for_learning_are_changed(items, quick):
    dls = sneaker_dls(items, replace(quick, detail=48))
    for dl,changed in (dls.train, True), (dls.valid, False):
        dl.before_iter() # tells the transforms whether it is for learning
        picture,original = dl.do_item(0)[0],dl.dataset[0][0]

        assert (original.shape, picture.dtype)==((4,48,48), torch.uint8)
        assert (not torch.equal(picture[:3], original[:3]))==changed
        assert dl.one_batch()[0].shape[1]==3


def test_another_background_leaves_the_shoe_alone():
    shop = Image.new('RGB', (60, 40), 'whitesmoke')
    shop.paste('white', (20, 10, 40, 30))
    square = torch.from_numpy(OpenSquare(60).square(shop)).permute(2,0,1)
    original,shoe = square[:3],square[3]==0
    assert shoe.sum()==pytest.approx(400, abs=90)

    random.seed(0)
    changed = [Backdrop()(TensorImage(square), split_idx=0) for _ in range(20)]

    assert 5<=sum(torch.equal(o, original) for o in changed)<=15
    assert all(o.dtype==torch.uint8 and torch.equal(o[:,shoe], original[:,shoe]) for o in changed)


def test_pictures_are_decoded_once(items, quick, tmp_path, monkeypatch):
    files = items.drop(columns='is_valid')
    first = OpenSquare(quick.detail)
    open_all(files, first, tmp_path/'squares'/'photos')
    monkeypatch.setattr(OpenSquare, 'square', lambda *args: pytest.fail('decoded again'))

    second = OpenSquare(quick.detail)
    open_all(files, second, tmp_path/'squares'/'photos')

    assert torch.equal(second(files.file[5]), first(files.file[5]))


def test_unknown_start_is_one_clear_error(items, quick):
    with pytest.raises(SneakerError, match='neither scratch, imagenet or sneakers'): learner(items, replace(quick, start='sneaker'))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A model hub on this machine that has one network, an empty cache, and the name of the network"
    architecture,weights = 'resnet10t',save(timm.create_model('resnet10t').state_dict())
    file = f'/{timm.get_pretrained_cfg(architecture).hf_hub_id}/resolve/main/model.safetensors'
    class Hub(LocalWeb):
        sends = weights
        async def answer(self, host, path):
            sha256 = hashlib.sha256(weights).hexdigest()
            if path==file: return 200, {'ETag':f'"{sha256}"', 'X-Repo-Commit':'0'*40}, self.sends
            if '/tree/' not in path: return 404, {}, b''
            lfs = dict(oid=sha256, size=len(weights), pointerSize=1)
            row = dict(type='file', path='model.safetensors', size=len(weights), oid='0'*40, lfs=lfs)
            return 200, {'Content-Type':'application/json'}, json.dumps([row]).encode()
    with Hub() as web:
        monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', web.url(''))
        monkeypatch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE', web.url('/{repo_id}/resolve/{revision}/{filename}'))
        monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
        yield Hub, architecture


def test_weights_from_the_hub_are_taken_once_they_are_what_was_published(hub, quick):
    web,architecture = hub
    training = replace(quick, architecture=architecture, start='imagenet')
    body = sneaker_body(training)
    for name,o in load(web.sends).items():
        if not name.startswith('fc.'): assert torch.equal(body.model.state_dict()[name], o), name


def test_weights_that_were_changed_on_their_way_are_refused(hub, quick, monkeypatch):
    web,architecture = hub
    monkeypatch.setattr(web, 'sends', web.sends[:-1]+bytes([web.sends[-1]^1]))
    with pytest.raises(SneakerError, match='not the file that was published'):
        sneaker_body(replace(quick, architecture=architecture, start='imagenet'))


def test_a_hub_that_cannot_be_reached_is_asked_once(quick, monkeypatch, caplog):
    hub = 'http://127.0.0.1:9'
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', hub)
    monkeypatch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE', hub+'/{repo_id}/resolve/{revision}/{filename}')

    start = time.monotonic()
    with pytest.raises(SneakerError, match='come from http://127.0.0.1:9, which cannot be reached'):
        sneaker_body(replace(quick, start='imagenet'))

    assert time.monotonic()-start<5 and not caplog.records


def test_a_hub_that_does_not_answer_is_not_waited_for(quick, monkeypatch):
    monkeypatch.setattr(network, 'get_hf_file_metadata', lambda *args, **kw: time.sleep(600))
    monkeypatch.setattr(network, '_hub_patience', 0.1)
    with pytest.raises(SneakerError, match='it does not answer'): sneaker_body(replace(quick, start='imagenet'))


def test_what_was_fetched_once_is_there_without_a_hub(hub, quick, monkeypatch):
    web,architecture = hub
    training = replace(quick, architecture=architecture, start='imagenet')
    first = sneaker_body(training).state_dict()

    monkeypatch.setattr(network, 'get_hf_file_metadata', lambda *args, **kw: 1/0)
    second = sneaker_body(training).state_dict()

    assert all(torch.equal(first[o], second[o]) for o in first)


def test_a_full_disk_costs_no_epoch(items, quick, tmp_path):
    "Neither where the squares do not fit nor where what was learned does not"
    files,opener = items.drop(columns='is_valid'),OpenSquare(quick.detail)

    with largest_file(100_000), pytest.raises(WriteError, match='photos-.*npy cannot be written: files as large as that'):
        open_all(files, opener, tmp_path/'squares'/'photos')
    assert not files_below(tmp_path)

    good,bad = open_all(files, opener, tmp_path/'squares'/'photos')
    assert len(good)==len(files) and not bad

    fit(learner(items, quick), replace(quick, epochs=1), tmp_path/'run', keep=True)
    kept, = files_below(tmp_path/'run')
    with largest_file(100_000), pytest.raises(WriteError, match='-0001.pth cannot be written: files as large as that') as e:
        fit(learner(items, quick), quick, tmp_path/'run')
    assert '\n' not in str(e.value) and files_below(tmp_path/'run')==[kept]

    epochs = Epochs()
    fit(learner(items, quick), quick, tmp_path/'run', [epochs])
    assert [e for e,_ in epochs.seen]==[0, 1, 2] and not files_below(tmp_path/'run')


def test_what_is_kept_until_the_model_is_written_is_not_learned_again(items, quick, tmp_path):
    first = fit(learner(items, quick), quick, tmp_path, keep=True)
    epochs = Epochs()
    second = fit(learner(items, quick), quick, tmp_path, [epochs])

    assert not epochs.seen and not list(tmp_path.iterdir())
    assert all(torch.equal(a, b) for a,b in zip(first.model.state_dict().values(), second.model.state_dict().values()))
