"""Training speed beside the same network fed from memory, with no loader and no augmentation; and the memory that it takes

Training makes pictures without a shoe from each batch, as `fit` does, which counts as loading; the network fed from memory
gets as many pictures.

python benchmarks/train_speed.py [ARCHITECTURE]

A GPU gets 4 GB of its memory, and its own account of the peak. On a CPU the tensors of one step are added up."""
import sys, time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sneaker_classifier.data import OpenSquare, labelled_items, open_all, sneaker_dls, split_items # first: it silences a warning of torch's
import timm
import torch
from fastai.callback.core import Callback
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


def main(architecture='tf_efficientnet_lite0', rounds=3):
    with TemporaryDirectory() as folder:
        training = replace(load_settings().training, architecture=architecture, start='scratch')
        items = split_items(labelled_items(make_samples(Path(folder)/'photos', n=160, size=160)))
        opener = OpenSquare(training.detail)
        items,_ = open_all(items, opener, Path(folder)/'squares'/'photos')
        cuda = torch.cuda.is_available()
        if cuda: torch.cuda.set_per_process_memory_fraction(min(1, 4*2**30/torch.cuda.get_device_properties(0).total_memory))
        learn = sneaker_learner(sneaker_dls(items, training, opener), training)
        steps = Steps()
        def ours():
            with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-4, cbs=[steps, OutlierExposure()])
            return steps.per_second(training.batch_size)
        for memory in ('as it comes', 'kept'):
            if memory=='kept': keep_memory()
            ours() # warms up
            batch = tuple(o.as_subclass(torch.Tensor).clone() for o in learn.dls.one_batch())
            found = [(ours(), bare(learn, batch)) for _ in range(rounds)]
            a,b = (median(o) for o in zip(*found))
            print(f'{architecture}, {training.size} pixels, batches of {training.batch_size}, {learn.dls.device}, memory {memory}: '
                f'training {a:.1f} pictures a second, from memory with no loader {b:.1f}: {median(x/y for x,y in found):.0%}', flush=True)
        peak = torch.cuda.max_memory_reserved() if cuda else step_memory(training)
        print(f"peak memory, {'measured' if cuda else 'by calculation'}: {peak/2**30:.2f} GB")
        del opener, learn # Windows deletes no file that is mapped


if __name__=='__main__': main(*sys.argv[1:])
