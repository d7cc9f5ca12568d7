# %% [markdown]
# # 1. A neuron and its resets
#
# Hello.

# %%
from matplotlib import pyplot as plt

# %% [markdown]
# ## Exercises
# **Exercise 1.** What?

# %% tags=["hide-cell"]
plt.plot([1, 2, 3])
print(1)

# %% [markdown]
# <details><summary>Answer 1 in words</summary>
#
# It *is* so.
#
# </details>
