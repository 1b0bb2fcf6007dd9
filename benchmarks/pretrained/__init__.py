"""Whether pretrained weights change what a proxy is worth, see reports/pretrained/plan.md."""
