# Every target sets up .venv when it is missing and reuses it when it is there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint check bundle

install: .venv/.installed

.venv/.installed: pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c .ci/constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/sam3-agent ask evals/demo/red_cars.png "all red cars except the smallest" --out out/demo

test: install
	$(BIN)/coverage run -m pytest
	@echo "coverage of lines and branches: $$($(BIN)/coverage report --format=total) %"

lint: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy sam3_agent tests
	$(BIN)/pyright

check: lint test

# an MCP bundle that Claude Desktop installs by a click: dist/sam3-agent.mcpb
bundle: install
	rm -rf build dist/sam3_agent-*.whl
	$(BIN)/python -m build --wheel
	$(BIN)/python .ci/mcpb/build.py dist/sam3_agent-*.whl dist/sam3-agent.mcpb
