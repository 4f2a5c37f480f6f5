"""Sales of a made-up shop: a table, a fit, a forecast, a chart and a report."""
import io
import json

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import sympy
import yaml
from bs4 import BeautifulSoup
from lxml import etree
from PIL import Image
from pydantic import BaseModel
from scipy import stats
from sklearn.linear_model import LinearRegression


class Shop(BaseModel):
    name: str
    months: int


shop = Shop(**yaml.safe_load("{name: Corner, months: 12}"))
months = np.arange(shop.months)
sales = pd.DataFrame({"month": months, "sold": 100 + 7 * months + np.resize([3, -3], shop.months)})
sales["quarter"] = sales.month // 3 + 1
print(shop.name, *(f"Q{q}: {n}" for q, n in sales.groupby("quarter").sold.sum().items()))

fit = stats.linregress(sales.month, sales.sold)
model = LinearRegression().fit(sales[["month"]].to_numpy(), sales.sold)
print(f"slope {fit.slope:.3f} {model.coef_[0]:.3f}, next {model.predict([[shop.months]])[0]:.1f}")
x = sympy.symbols("x")
print("sold out at", sympy.solve(100 + 7 * x - 240, x))

figure, axes = plt.subplots(figsize=(4, 3), dpi=50)
axes.bar(sales.month, sales.sold)
axes.set_title("Sold")
chart = io.BytesIO()
figure.savefig(chart, format="png")
print("chart", Image.open(chart).size)

book = openpyxl.Workbook()
book.active.append([int(n) for n in sales.sold])
print("table", book.active["L1"].value, pa.Table.from_pandas(sales).num_rows)
page = BeautifulSoup(f"<p>{shop.name} <b>{sales.sold.max()}</b></p>", "lxml")
print("page", page.b.text, etree.fromstring(str(page.p)).tag)
roads = nx.Graph([("shop", "mill"), ("mill", "farm"), ("shop", "farm"), ("farm", "lake")])
print(json.dumps(nx.shortest_path(roads, "shop", "lake")))
