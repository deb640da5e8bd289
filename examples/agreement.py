"""In how many rows of an exported CSV the column `label` says what the column `gold` says.

python agreement.py FILE
"""

import csv
import sys
from pathlib import Path

with Path(sys.argv[1]).open(newline="", encoding="utf-8") as file:
    agree = [row["label"] == row["gold"] for row in csv.DictReader(file)]
print(f"{sum(agree)} of {len(agree)} labels are those of the column gold ({sum(agree) / len(agree):.0%})")
