"""From starting Python to an answer, beside the bare limit: python benchmarks/start.py PHOTO

The bare limit imports NumPy, Pillow and ONNX Runtime, decodes the photo and runs the same network on it: no checks, no settings, no names."""
import statistics, subprocess, sys, time
from pathlib import Path

ours = 'from sneaker_classifier import SneakerClassifier; print(SneakerClassifier.load().predict(r"{photo}"))'
bare = '''
import numpy as np, onnxruntime as ort
from PIL import Image
net = ort.InferenceSession(r"{model}", providers=["CPUExecutionProvider"])
im = Image.open(r"{photo}").convert("RGB").resize(net.get_inputs()[0].shape[1:3], Image.Resampling.BICUBIC)
print(net.run(["logits"], {{"pictures": np.asarray(im)[None]}})[0].argmax())'''


def seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter()-start


def main(photo, rounds=15):
    where = dict(photo=Path(photo).resolve(), model=Path(__file__).resolve().parent.parent/'sneaker_classifier/models/sneakers/model.onnx')
    codes = {name:code.format(**where) for name,code in dict(ours=ours, bare=bare).items()}
    for code in codes.values(): seconds(code) # warm the file cache
    times = {name:[] for name in codes}
    for _ in range(rounds):
        for name,code in codes.items(): times[name].append(seconds(code))
    for name,t in times.items(): print(f'{name}: median {statistics.median(t):.2f} s, fastest {min(t):.2f} s, slowest {max(t):.2f} s')


if __name__ == '__main__': main(sys.argv[1])
