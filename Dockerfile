# Two images from one file: `api` (no tensor library) and `worker` (with torch).
# Every package is pinned by hash in requirements/, which `make lock` writes. What builds, and what was
# downloaded, is mounted while it is needed and is in no image.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS python
# the standard library's bytecode: nothing can be written beside it later
RUN python -m compileall -q -x '/(site-packages|test|idlelib|lib2to3)/' /usr/local/lib/python3.12

FROM python AS tools
COPY requirements/build.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes -r /requirements/build.txt

FROM tools AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY cli cli
COPY jobs jobs
COPY ml ml
COPY tunesmith_client tunesmith_client
COPY worker worker
RUN /opt/tools/bin/uv build --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /wheel

FROM python AS runtime
LABEL org.opencontainers.image.title="tunesmith" \
      org.opencontainers.image.description="Finds learning rates, fine-tunes image classifiers and shows where every bit of loss comes from" \
      org.opencontainers.image.licenses="Apache-2.0"
# a named volume takes over the owner of the folder that it is mounted on
RUN groupadd --gid 10001 tunesmith \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tunesmith \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/tunesmith/artifacts /var/lib/tunesmith/torch \
    && install -d -o 10001 -g 10001 -m 0755 /run/tunesmith
# the root file system is read-only: what may be written lies below /tmp or on a volume
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    TUNESMITH_ARTIFACTS=/var/lib/tunesmith/artifacts \
    TUNESMITH_LOG_FORMAT=json
WORKDIR /var/lib/tunesmith
ENTRYPOINT ["tunesmith"]

FROM runtime AS api
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=requirements/api.txt,target=/requirements.txt \
    /opt/tools/bin/uv venv --python /usr/local/bin/python3.12 /opt/venv \
    && /opt/tools/bin/uv pip install --python /opt/venv/bin/python --no-deps \
        --require-hashes --compile-bytecode -r /requirements.txt
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    /opt/tools/bin/uv pip install --python /opt/venv/bin/python --no-cache --no-deps --no-index \
        --compile-bytecode /wheel/*.whl \
    && /opt/tools/bin/uv pip check --python /opt/venv/bin/python
USER 10001:10001
EXPOSE 8000
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
CMD ["api"]

FROM runtime AS worker
# compiled kernels and downloaded weights are kept on one volume; nothing below /tmp may be executed
ENV TORCH_HOME=/var/lib/tunesmith/torch \
    CUDA_CACHE_PATH=/var/lib/tunesmith/torch/kernels \
    TORCHINDUCTOR_CACHE_DIR=/var/lib/tunesmith/torch/inductor \
    TRITON_CACHE_DIR=/var/lib/tunesmith/torch/triton \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# of C, where torch is to compile the steps of trainings on a GPU
ARG WITH_COMPILER=no
# hadolint ignore=DL3008
RUN if [ "$WITH_COMPILER" = yes ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends gcc libc6-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=requirements/worker.txt,target=/requirements.txt \
    /opt/tools/bin/uv venv --python /usr/local/bin/python3.12 /opt/venv \
    && /opt/tools/bin/uv pip install --python /opt/venv/bin/python --no-deps \
        --require-hashes --compile-bytecode -r /requirements.txt
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    /opt/tools/bin/uv pip install --python /opt/venv/bin/python --no-cache --no-deps --no-index \
        --compile-bytecode /wheel/*.whl \
    && /opt/tools/bin/uv pip check --python /opt/venv/bin/python
USER 10001:10001
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
CMD ["worker", "--queue", "train"]
