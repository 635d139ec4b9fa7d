"""A suite of two short tasks, which several test files share."""

TASK = """
    experiment:
      dataset: Digits
      model: "Perceptron(hidden=[{units}])"
      least_dense_quality: {mark}
      measurements: [Size]
      pretraining: {{epochs: 2, learning_rate: 0.01}}
      finetuning: {{epochs: 1, learning_rate: 0.01}}
    compression: [2, 8]
    narrower: ["Perceptron(hidden=[{half}])", "Perceptron(hidden=[{eighth}])"]
    floor: 0.1
"""
HEAD = """# Two short tasks.
name: tiny-{version}
seeds: [0, 1]
strategies: [Random, GlobalMagnitude, StructuredL1]
tuning: {{trials: 3, seed: 9, learning_rates: [0.1, 1, 3]}}
tasks:
"""


def written(folder, version=1, mark=0.5, more=""):
    path = folder / f"tiny-{version}.yaml"
    small = "  small:" + TASK.format(units=20, half=9, eighth=2, mark=mark)
    wide = "  wide:" + TASK.format(units=40, half=19, eighth=4, mark=mark)
    path.write_text(HEAD.format(version=version) + small + wide + more)
    return path
