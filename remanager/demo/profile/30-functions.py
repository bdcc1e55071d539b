"""Functions that clients may call."""


def read_status() -> dict:
    """Return where the motors are and what the shutter does."""
    motors = (theta, energy, stage.x, stage.y)
    return {
        "positions": {motor.name: float(motor.position) for motor in motors},
        "shutter": shutter.get(),
        "sample": sample_name.get(),
    }


def set_sample(name: str) -> str:
    """Note the name of the sample in the metadata of the runs to come."""
    sample_name.put(name)
    RE.md["sample"] = name
    return name


def function_sleep(time: float) -> dict:
    """Sleep for a number of seconds."""
    import time as clock

    clock.sleep(time)
    return {"success": True, "time": time}
