"""proxyflow builds proxy data sets, trains on them and measures how well they predict the full data.

A proxy data set is good if ranking hyperparameter configurations on it ranks them as the full
data would (Shleifer & Prokop 2019, "Proxy Datasets for Training Convolutional Neural Networks").
"""

__version__ = "0.1.0"
