# docker build -t feedline .
# docker run --gpus all -v "$PWD":/work feedline convert --source sample
# docker run --gpus all -v "$PWD":/work feedline train --mode train --data data/sample --recipe demo
#
# The C compiler is for the kernels of CPUs, and for torch.compile on a GPU; libturbojpeg decodes blocks of JPEGs. Everything
# else is wheels from PyPI; torch and DALI bring CUDA 13, of which the host needs only the driver.
FROM python:3.12-slim AS compiler
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libturbojpeg0 \
    && rm -rf /var/lib/apt/lists/*

FROM compiler AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM compiler
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --only-binary :all: /wheels/*.whl && rm -rf /wheels
# Files that a container writes belong to this user: `docker run --user $(id -u):$(id -g)` makes them yours.
RUN useradd --create-home feedline && mkdir /work && chown feedline /work
USER feedline
ENV HOME=/home/feedline MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["feedline"]
CMD ["--help"]
