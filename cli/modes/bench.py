"""--mode bench: images/s of the loader, the model and both."""

from pathlib import Path
from typing import Any

import torch
from torch.distributed import ReduceOp

from feedline.cli.bench_words import advice, verdict
from feedline.cli.build import choose_device, make_loader, make_model, print_loader, training_side, with_stem
from feedline.cli.fitting import fitted
from feedline.cli.machine import set_up_host, warn_if_busy
from feedline.cli.reports import REPORT
from feedline.cli.request import Request
from feedline.console import aloud
from feedline.output import counted, speed
from feedline.pipeline import compiled
from feedline.pipeline.dataset import Dataset, turbojpeg
from feedline.pipeline.engines import dali
from feedline.pipeline.engines.choose import choose_engine
from feedline.pipeline.engines.types import ENGINES
from feedline.pipeline.files import write_json
from feedline.pipeline.loader import Loader
from feedline.pipeline.stores import StoreName, choose_store, resolve_store, stores_on
from feedline.report.bench import bench_page
from feedline.report.settings import machine
from feedline.training import bench, plots
from feedline.training.compiling import searching_convolutions, with_compile
from feedline.training.config import Config
from feedline.training.memory import memory_errors
from feedline.training.meter import hardware, peak_memory, versions
from feedline.training.ranks import Ranks
from feedline.training.step import TrainStep


def run(request: Request) -> int:
    """Measures the loaders, the model and both together; writes bench.json, bench.png and report.html."""
    ranks, (config, dataset) = request.ranks, request.opened()
    config = fitted(request, config, dataset)
    device, out = choose_device(config.run.device, ranks), ranks.on_first(request.folder)
    set_up_host(config.run, device)
    auto_store, reason = choose_store(dataset, device)
    store = resolve_store(config.loader.store, dataset, device)
    engine = choose_engine(device) if config.loader.engine == "auto" else config.loader.engine
    loaders, chosen = _loaders(request, config, dataset, device), f"{store} {engine}"
    config = with_stem(config, request, training_side(config, loaders[chosen].output(0)))
    config = with_compile(config, loaders[chosen], ranks=ranks)  # as in a training with these settings
    print_loader(loaders[chosen], config)
    lr = 0.0 if config.optim.max_lr == "auto" else config.optim.max_lr
    searching = searching_convolutions(config, loaders[chosen])  # as well
    warn_if_busy(device, ranks)
    with memory_errors(config, ranks), searching:
        step = TrainStep(config, make_model(config, dataset, request.network), device, lr, ranks)
        loop = bench.LoopStep(config, step, device, ranks)
        results = bench.measure(loaders, chosen, loop, rounds=request.rounds, seconds=request.seconds, ranks=ranks)
    if not ranks.is_first:
        return 0
    sentences = [verdict(results, chosen, device, config.loader.batch_size, compiled=bool(config.run.compile))]
    sentences.append(advice(results, auto_store, reason))
    if compiled.kernels is None:
        sentences.append(compiled.ADVICE)
    elif engine == "torch" and store in ("files", "jpeg") and turbojpeg.functions() is None:
        sentences.append(turbojpeg.ADVICE)
    content = {
        "command": request.command,
        "verdict": "\n".join(sentences),
        "results": [r.summary() for r in results],
        "together_with": chosen,
        "rounds": request.rounds,
        "ranks": ranks.world_size,
        "memory": peak_memory(device),
        "precision": step.precision.name,
        "hardware": hardware(device),
        "versions": versions(),
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "config": config.flat(),
    }
    with aloud():
        _print(results, content)
        write_json(out / "bench.json", content)
        _plot(out / "bench.png", results, content)
        bench_page(content).write(out / REPORT)
        print(f"report: {out / REPORT}  picture: {out / 'bench.png'}")
    request.results.update(out=out, **content)
    return 0


def _loaders(request: Request, config: Config, dataset: Dataset, device: torch.device) -> dict[str, Loader]:
    """A loader for each combination of store and engine that was asked for; `auto` asks for those possible here."""
    named = config.loader.engine
    here = tuple(name for name in ENGINES if name != "dali" or not dali.problem())
    return {
        f"{store} {engine}": make_loader(
            config.replace(store=store, engine=engine, image_size=config.loader.last_size),
            dataset,
            "train",
            device,
            request.ranks,
        )
        for store in _asked_stores(request, config, dataset, device)
        for engine in (here if named == "auto" else (named,))
    }


def _asked_stores(request: Request, config: Config, dataset: Dataset, device: torch.device) -> tuple[StoreName, ...]:
    """The store that was named, or those that the dataset and the device have what they need for."""
    name = config.loader.store
    if name != "auto":
        return (resolve_store(name, dataset, device),)
    stores = tuple(store for store in stores_on(device) if _has(dataset, store))
    if "resident" in stores and not _fits(dataset, device, request.ranks):
        return tuple(store for store in stores if store != "resident")
    return stores


def _fits(dataset: Dataset, device: torch.device, ranks: Ranks) -> bool:
    """Whether the pixels fit in half of a GPU's free memory, on every rank: the model needs some too. Says if not."""
    nbytes = dataset.packs["raw"]["bytes"]
    free = torch.cuda.mem_get_info(device)[0]
    lowest = int(ranks.all_reduce(torch.tensor([free]), ReduceOp.MIN))
    if nbytes > lowest / 2:
        print(
            f"store resident: left out, because its {nbytes / 2**30:.1f} GiB of pixels are more than half of the GPU's "
            f"free {lowest / 2**30:.1f} GiB"
        )
    return nbytes <= lowest / 2


def _has(dataset: Dataset, store: str) -> bool:
    """Whether a dataset has what a store reads."""
    if store == "resident":
        return "raw" in dataset.packs and dataset.packs["raw"]["image_size"] is not None
    return store == "files" or store in dataset.packs


def _plot(path: Path, results: list[bench.Measurement], content: dict[str, Any]) -> None:
    colours = {"model": plots.GREEN, "together": plots.ORANGE}
    rows = [(r.name, r.median, min(r.images_per_s), max(r.images_per_s)) for r in results]
    batches = f"batches of {content['config']['batch_size']}, {content['precision']}"
    title = f"{content['dataset']['name']}, {batches}, {machine(content['hardware'])}"
    plots.bars(path, rows, "images/s (median and range)", title, [colours.get(r.name, plots.BLUE) for r in results])


def _print(results: list[bench.Measurement], content: dict[str, Any]) -> None:
    """Prints the table, the memory and the verdict."""
    print(f"{'':<24}{'images/s':>12}{'lowest':>12}{'highest':>12}{'CPU us/image':>14}{'stall':>8}")
    for r in results:
        line = r.summary()
        stall = f"{100 * line['stall']:.1f} %" if r.stall else ""
        print(
            f"{r.name:<24}{speed(r.median):>12}{speed(line['lowest']):>12}{speed(line['highest']):>12}"
            f"{line['cpu_us_per_image']:>14,.1f}{stall:>8}"
        )
    memory = "  ".join(f"{name.split('_')[0]} {mib:,.0f} MiB" for name, mib in content["memory"].items())
    print(f"peak memory: {memory}; medians of {counted(content['rounds'], 'round')}\n{content['verdict']}")
