"""How fast and how large is training?

    python benchmarks/speed_train.py [--architecture tf_efficientnet_lite0]

Drawings of 160 pixels. Training makes pictures without a shoe from each batch, as `fit` does, which counts as loading; the network fed
from memory, with no loader and no augmentation, gets as many pictures. A GPU gets 4 GB of its memory and gives its own account of the
peak. On a CPU the tensors of one step in half precision are added up.
"""
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sneaker_classifier.data import OpenSquare, labelled_items, open_all, sneaker_dls, split_items # first: it silences a warning of torch's
import timm
import torch
from common import ratio, record
from fastai.callback.core import Callback
from fastcore.script import call_parse
from sneaker_classifier.samples import make_samples
from sneaker_classifier.settings import load_settings
from sneaker_classifier.train import OutlierExposure, keep_memory, sneaker_learner
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

class Steps(Callback):
    "Pictures a second from batch to batch, the first few left out"
    order = 100
    def before_train(self): self.times = []
    def after_batch(self):
        if self.training: self.times.append(time.perf_counter())
    def per_second(self, batch_size): return (len(self.times)-4)*batch_size/(self.times[-1]-self.times[3])


def bare(learn, batch):
    "The same network, loss and optimizer, with one batch that is ready"
    x,y = batch
    x = torch.cat([x, x[:len(x)//4]])
    learn.model.train()
    times = []
    for _ in range(len(learn.dls.train)):
        learn.loss_func(learn.model(x)[:len(y)], y).backward()
        learn.opt.step()
        learn.opt.zero_grad()
        if x.device.type=='cuda': torch.cuda.synchronize()
        times.append(time.perf_counter())
    return (len(times)-4)*len(y)/(times[-1]-times[3])


def step_memory(training):
    "Bytes of all tensors at the peak of a step in half precision, counted with tensors that hold no data"
    with FakeTensorMode():
        model = timm.create_model(training.architecture, num_classes=4)
        opt = torch.optim.Adam(model.parameters(), foreach=False)
        batch = torch.zeros(training.batch_size, 3, training.size, training.size)
        tracker = MemTracker()
        tracker.track_external(model, opt, batch)
        with tracker:
            for _ in range(2): # the optimizer makes its moments in the first
                with torch.autocast('cpu', torch.bfloat16): logits = model(batch)
                logits.float().logsumexp(1).sum().backward()
                opt.step()
                opt.zero_grad()
                tracker.reset_mod_stats()
        return max(o['Total'] for o in tracker.get_tracker_snapshot('peak').values())


def learner(folder, training):
    "A Learner for drawings"
    items,opener = split_items(labelled_items(make_samples(folder/'photos', n=160, size=160))),OpenSquare(training.detail)
    items,_ = open_all(items, opener, folder/'squares'/'photos')
    return sneaker_learner(sneaker_dls(items, training, opener), training)

def measure(learn, bs, rounds):
    "Pictures a second in training and from memory, for each round"
    steps = Steps()
    def ours():
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-4, cbs=[steps, OutlierExposure()])
        return steps.per_second(bs)
    ours() # warms up
    batch = tuple(o.as_subclass(torch.Tensor).clone() for o in learn.dls.one_batch())
    return zip(*[(ours(), bare(learn, batch)) for _ in range(rounds)])

@call_parse
def main(
    architecture:str='tf_efficientnet_lite0', # A network by its timm name
    rounds:int=3                              # Turns of each way
):
    rows = []
    with TemporaryDirectory() as folder:
        training,cuda = replace(load_settings().training, architecture=architecture, start='scratch'),torch.cuda.is_available()
        if cuda: torch.cuda.set_per_process_memory_fraction(min(1, 4*2**30/torch.cuda.get_device_properties(0).total_memory))
        learn = learner(Path(folder), training)
        for memory in 'given back', 'kept':
            if memory=='kept': keep_memory()
            ours,peer = measure(learn, training.batch_size, rounds)
            what,said = f'{architecture}, {learn.dls.device}, memory {memory}',f'median of the ratios {ratio(ours, peer):.2f}'
            rows.append(dict(what=what, ours=median(ours), unit='a second', peer='from memory', theirs=median(peer), remark=said))
        peak = torch.cuda.max_memory_reserved() if cuda else step_memory(training)
        what = f"peak memory of a step, {'measured' if cuda else 'by calculation'}"
        rows.append(dict(what=what, ours=peak/2**30, unit='GB', peer='allowed', theirs=3.5))
        del learn # Windows deletes no file that is mapped
    record('speed_train', rows)
