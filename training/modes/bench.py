"""--mode bench: images/s of loader, model and both."""

from feedline.pipeline import compiled
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.engine import ENGINES, choose_engine, dali_problem
from feedline.pipeline.stores import STORES, choose_store
from feedline.training import bench, plots
from feedline.training.meter import hardware, peak_memory, versions
from feedline.training.modes.common import Request, choose_device, make_loader, make_model, memory_errors, say_feed
from feedline.training.report import write_json
from feedline.training.step import TrainStep


def run(request: Request) -> int:
    """Measures the loaders, the model and both together; writes bench.json and bench.png."""
    ranks, config = request.ranks, request.config()
    device, dataset = choose_device(config.run.device, ranks), Dataset(config.data.data)
    auto, reason = choose_store(dataset, device)
    store = auto if config.data.store == "auto" else config.data.store
    engine = choose_engine(device) if config.data.engine == "auto" else config.data.engine
    loaders = {}
    for s in STORES if config.data.store == "auto" else (store,):
        for e in ENGINES if config.data.engine == "auto" else (engine,):
            if _possible(s, e, dataset):
                loaders[f"{s} {e}"] = make_loader(config.replace(store=s, engine=e), dataset, "train", device, ranks)
    chosen = f"{store} {engine}"
    say_feed(loaders[chosen], config)
    lr = 0.0 if config.optim.max_lr == "auto" else config.optim.max_lr
    with memory_errors(config, ranks):
        step = TrainStep(config, make_model(config, dataset), device, lr, ranks)
        results = bench.measure(loaders, chosen, step, rounds=request.rounds, seconds=request.seconds, ranks=ranks)
    if not ranks.first:
        return 0
    out = request.folder()
    sentence = bench.verdict(results, chosen, device, config.data.batch_size)
    sentence += "\n" + bench.advice(results, auto, reason)
    if compiled.kernels is None:
        sentence += f"\n{compiled.ADVICE}"
    out.mkdir(parents=True, exist_ok=True)
    memory = peak_memory(device)
    content = {
        "command": request.command,
        "verdict": sentence,
        "results": [r.summary() for r in results],
        "together_with": chosen,
        "rounds": request.rounds,
        "ranks": ranks.world_size,
        "memory": memory,
        "precision": step.precision.name,
        "hardware": hardware(device),
        "versions": versions(),
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "config": config.flat(),
    }
    write_json(out / "bench.json", content)
    kinds = {"model": plots.GREEN, "together": plots.ORANGE}
    colours = [kinds.get(r.name, plots.BLUE) for r in results]
    rows = [(r.name, r.median, min(r.images_per_s), max(r.images_per_s)) for r in results]
    where = hardware(device)
    machine = where.get("gpu", f"{where['cores']} cores of {where['cpu']}")
    plots.bars(out / "bench.png", rows, "images/s (median and range)", f"{dataset.name}, batches of "
               f"{config.data.batch_size}, {step.precision.name}, {machine}", colours)  # fmt: skip
    print(f"{'':<24}{'images/s':>12}{'lowest':>12}{'highest':>12}{'CPU us/image':>14}{'stall':>8}")
    for r in results:
        line = r.summary()
        stall = f"{100 * line['stall']:.1f} %" if r.stall else ""
        print(
            f"{r.name:<24}{r.median:>12,.1f}{line['lowest']:>12,.1f}{line['highest']:>12,.1f}"
            f"{line['cpu_us_per_image']:>14,.1f}{stall:>8}"
        )
    used = "  ".join(f"{name.split('_')[0]} {mib:,.0f} MiB" for name, mib in memory.items())
    print(f"peak memory: {used}; medians of {request.rounds} rounds\n{sentence}\npicture: {out / 'bench.png'}")
    return 0


def _possible(store: str, engine: str, dataset: Dataset) -> bool:
    """Whether the dataset and this machine have what a combination needs."""
    if engine == "dali" and dali_problem():
        return False
    if store == "resident":
        return "raw" in dataset.packs and dataset.packs["raw"]["image_size"] is not None
    return store == "files" or store in dataset.packs
