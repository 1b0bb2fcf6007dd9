"""The tracking server: the only part of proxyflow that imports mlflow.

`runs` writes runs, `delivery` gets their records to the server through outages and crashes, `artifacts` transfers their
files, `queries` finds runs, and `ui` is what the MLflow UI shows of them. `names` is the schema, and `connection`
connects to a server, or to a store without one (`databases`).
"""
