"""
Two senses
==========

A network sees a handwritten digit and hears the same digit spoken. In training, one of the senses is often missing.
Afterwards it answers with both, with either alone, and in noise: with both senses it holds out longer than with the
better of the two.

The images are those of scikit-learn. The voices are computed (:func:`pnbx_snn.data.synthetic_speech.speak_digit`), so
nothing has to be downloaded.
"""

# %%
# Pairs of an image and a word
# ----------------------------
# A step is a frame of 10 ms. At each, the network gets 24 mel bands of the sound and the 64 pixels, which stay.
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

import neuromorphic
from pnbx_snn import PNBX, plot
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.mel import HOP, WINDOW, log_mel, mel_filters
from pnbx_snn.data.synthetic_speech import speak_digit

torch.set_num_threads(1)
fast = "--fast" in sys.argv  # how the tests run it
num_updates, num_voices, num_seeds, levels = (2, 2, 1, (0.0, 1.0)) if fast else (150, 30, 3, (0.0, 0.25, 0.5, 1.0, 1.5, 2.0))
num_frames = 36


def heard(digit, rng):
    """Return the bands [T, 24] of a word in the middle of silence."""
    sound = 0.003 * rng.standard_normal(WINDOW + HOP * (num_frames - 1)).astype(np.float32)
    word = speak_digit(digit, rng)[: len(sound)]
    start = (len(sound) - len(word)) // 2
    sound[start : start + len(word)] += word
    return (log_mel(torch.from_numpy(sound).unfold(0, WINDOW, HOP), mel_filters(24)) + 4) / 3


def vocabulary(seed, count):
    rng = np.random.default_rng(seed)
    return torch.stack([torch.stack([heard(digit, rng) for _ in range(count)]) for digit in range(10)])


def pairs(split, words, count, generator, sees=1.0, hears=1.0, noise=0.0):
    """Return inputs [B, T, 64 + 24] and labels; a sense that is missing is all zeros."""
    index = torch.randint(len(split.labels), (count,), generator=generator)
    labels = split.labels[index]
    sounds = words[labels, torch.randint(words.shape[1], (count,), generator=generator)]  # [B, T, 24]
    images = 2 * split.images[index, None].expand(-1, num_frames, -1)
    missing = torch.rand(2, count, 1, 1, generator=generator)
    images = (images + noise * torch.randn(count, 1, 64, generator=generator)) * (missing[0] < sees)
    sounds = (sounds + noise * torch.randn(sounds.shape, generator=generator)) * (missing[1] < hears)
    return torch.cat([images, sounds], dim=2), labels

if __name__=="__main__":
    import time
    tr,te=load_digits_split(part="train"),load_digits_split(part="validation")
    t=time.process_time(); W=vocabulary(0,num_voices); V=vocabulary(1,20); print(time.process_time()-t, W.mean(), W.std())
    for seed in range(1):
        torch.manual_seed(seed); g=torch.Generator().manual_seed(seed)
        m=PNBX(in_features=88,num_classes=10,num_steps=num_frames,d_hidden=128,d_ssm=64,d_rnn=32,fast_weights="none",hippocampus="none",messages=False,quantize=True,norm="affine",tau_max=64.)
        m.calibrate(pairs(tr,W,256,g)[0])
        o=torch.optim.Adam(m.parameters()); s=torch.optim.lr_scheduler.OneCycleLR(o,8e-3,num_updates)
        t=time.process_time()
        for u in range(num_updates):
            x,y=pairs(tr,W,64,g,.7,.7,.5*torch.rand(1).item())
            out=m(m.encode(x),keep_state=False)
            torch.nn.functional.cross_entropy(out.logits,y,label_smoothing=.05).backward(); o.step(); o.zero_grad(); s.step(); m.adapt(out.spikes)
        print("train",time.process_time()-t); m.eval()
        for n in levels:
            r=[]
            for a,b in ((1,1),(1,0),(0,1)):
                x,y=pairs(te,V,400,torch.Generator().manual_seed(7),a,b,n)
                with torch.no_grad(): r.append((m.classify(x)[0].argmax(1)==y).float().mean().item())
            print(n,r,flush=True)
