# The command `hpo`, for any container engine. Trains on processors; for NVIDIA GPUs:
#
#     docker build --build-arg EXTRAS=cuda --tag hpo:cuda .
#
# A package index of your own comes in as a secret, which no layer keeps: --secret id=pip,src=$HOME/.config/pip/pip.conf

FROM python:3.11-slim-bookworm AS requirements
# Extras of hpo to install, with commas between: cuda, jax, ray.
ARG EXTRAS=""
COPY deploy/requirements.py pyproject.toml /src/
RUN python3 /src/requirements.py /src/pyproject.toml "$EXTRAS" > /src/requirements.txt

# Installed anew only when a requirement changes, not with every change of the code or of pyproject.toml.
FROM python:3.11-slim-bookworm AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY --from=requirements /src/requirements.txt /src/
# TensorFlow's headers, a fifth of its size, are only for compiling operations of one's own.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/hpo \
    && /opt/hpo/bin/pip install --requirement /src/requirements.txt \
    && rm -rf /opt/hpo/lib/python3*/site-packages/tensorflow/include

FROM dependencies AS wheel
COPY pyproject.toml README.md LICENSE /src/
COPY hpo /src/hpo
COPY search_spaces /src/search_spaces
COPY storage /src/storage
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/hpo/bin/pip wheel --no-deps --wheel-dir /wheels /src

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 hpo \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin hpo \
    && install --directory --owner hpo --group hpo /var/lib/hpo /reports
COPY --from=dependencies /opt/hpo /opt/hpo
COPY --from=wheel /wheels /wheels
RUN /opt/hpo/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
# Mount a volume at /var/lib/hpo: results that the database has not got yet, and compiled programs.
ENV PATH=/opt/hpo/bin:$PATH \
    HOME=/home/hpo \
    XDG_STATE_HOME=/var/lib/hpo \
    XDG_CACHE_HOME=/var/lib/hpo/cache \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /reports
ENTRYPOINT ["hpo"]
CMD ["--help"]
