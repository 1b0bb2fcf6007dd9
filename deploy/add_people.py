"""Makes accounts at a tracking server: python3 add_people.py ada jean-luc, with ADA_PASSWORD and JEAN_LUC_PASSWORD set.

MLflow's own variables say where the server is and who admin is. Nothing secret is on a command line, which every user
of a machine sees.
"""

import os
import re
import sys

from mlflow.server import get_app_client

if __name__ == "__main__":
    passwords = {name: os.environ[re.sub(r"\W", "_", f"{name.upper()}_PASSWORD")] for name in sys.argv[1:]}
    accounts = get_app_client("basic-auth", os.environ["MLFLOW_TRACKING_URI"])
    for name, password in passwords.items():
        accounts.create_user(name, password)
        # The experiment that mlflow run uses where no other is named.
        accounts.grant_user_permission(name, "experiment", "0", "EDIT")
