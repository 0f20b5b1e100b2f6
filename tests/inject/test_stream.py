"""What `sidecar inject` refuses, what it says, and what it makes of grace periods and annotations."""

from __future__ import annotations

import re

import pytest

from sidecar.inject.options import OPTIONS
from sidecar.inject.stream import inject, uninject
from tests.inject.support import DEPLOYMENT, SERVICE, annotated, injected, loaded, pods, refused, sidecar_of

JOB = DEPLOYMENT.replace("apps/v1", "batch/v1").replace("Deployment", "Job")
POD = "      containers:\n"
SLEEP = "        lifecycle: {preStop: {sleep: {seconds: 10}}}\n"
VOLUMES = "      volumes:\n      - {name: data, emptyDir: {}}\n      - {name: sidecar-config, emptyDir: {}}\n"


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        (
            DEPLOYMENT.replace(POD, "      hostNetwork: true\n" + POD),
            {},
            "document 1, Deployment/web, line 1: spec.template.spec.hostNetwork: the pod has the node's network, so "
            'its ports would be the node\'s; say sidecar/inject: "false" to leave it alone',
        ),
        (
            DEPLOYMENT.replace("8080", "8900"),
            {},
            "spec.template.spec.containers[0].ports: uses port 8900 itself; give --listen and --admin others",
        ),
        (DEPLOYMENT, {"admin": ":8080"}, "containers[0].ports: uses port 8080 itself"),
        (DEPLOYMENT.replace("name: web\n        image", "name: sidecar\n        image"), {}, "has a container sidecar"),
        (DEPLOYMENT.partition("        ports")[0], {}, "no containerPort says where the application listens"),
        (DEPLOYMENT, {"upstream": "unix:///run/app.sock"}, "needs a volume that both containers mount"),
        (DEPLOYMENT, {"listen": "127.0.0.1:8900"}, "--listen 127.0.0.1:8900 cannot be reached from outside the pod"),
        (DEPLOYMENT, {"admin": "unix:/run/admin.sock"}, "--admin unix:/run/admin.sock cannot be reached"),
        (JOB, {"mode": "classic"}, "a Job never ends beside a classic sidecar; use mode native"),
        (
            DEPLOYMENT + "        lifecycle: {preStop: {exec: {command: [sh, -c, sleep 20]}}}\n",
            {"mode": "classic"},
            "would end 35 seconds after the pod is told to, the application after up to 45; give --drain-timeout 37s",
        ),
        (
            DEPLOYMENT.replace(POD, "      <<: {initContainers: [{name: a}]}\n" + POD),
            {},
            "spec.template.spec.initContainers: is an alias (*) or merged (<<); write it out",
        ),
        (
            DEPLOYMENT + VOLUMES,
            {"config-map": "settings"},
            "spec.template.spec.volumes[1]: is a volume sidecar-config that was not injected; rename it, or give no "
            "--config-map",
        ),
        (annotated(upstraem="x"), {}, "annotation sidecar/upstraem is not known; did you mean sidecar/upstream?"),
        (annotated(timeout="5"), {}, "annotation sidecar/timeout: 5 has no unit; write 5s for seconds or 5ms"),
        (annotated(inject="no"), {}, 'annotation sidecar/inject: no is neither true nor false; write "true"'),
        ("a: 1\n---\nb: [\n", {}, "document 2, line 4, column 1: "),
        ("a: *nothing\n", {}, "document 1, line 1, column 4: "),
    ],
)
def test_what_cannot_be_is_refused(text: str, flags: dict[str, str], said: str) -> None:
    """With the document, what it is, where in it, and what to do."""
    (problem,) = refused(text, **flags)
    assert said in problem
    assert problem.startswith("document ")


def test_every_problem_is_told_and_nothing_is_injected() -> None:
    """Half a stream applied is worse than none."""
    bad = DEPLOYMENT.replace(POD, "      hostNetwork: true\n" + POD).replace("8080", "8901")
    problems = refused(f"{DEPLOYMENT}---\n{bad}")
    assert [problem.partition(",")[0] for problem in problems] == ["document 2", "document 2"]


@pytest.mark.parametrize(
    ("anchored", "shared", "said"),
    [
        (
            "spec: &x\n    containers: [{ports: [{containerPort: 80}]}]",
            "spec: *x",
            "items[1].spec.initContainers: is an",
        ),
        (
            "spec:\n    initContainers: &x [{name: i}]\n    containers: &c [{ports: [{containerPort: 80}]}]",
            "spec: {initContainers: *x, containers: *c}",
            "items[1].spec.initContainers: is an alias (*) or merged (<<); write it out",
        ),
        (
            "spec: &x {containers: [{ports: [{containerPort: 80}]}]}",
            "<<: {spec: *x}",
            "items[1].spec.initContainers: is an alias",
        ),
        (
            "spec:\n    activeDeadlineSeconds: &x 20\n    containers: &c [{ports: [{containerPort: 80}]}]",
            "spec: {terminationGracePeriodSeconds: *x, containers: *c}",
            "Pod/b, line 13: line 16: terminationGracePeriodSeconds shares its value by an anchor or alias",
        ),
    ],
)
def test_text_that_is_anothers_too_is_refused(anchored: str, shared: str, said: str) -> None:
    """What would be put in there would be put into the other as well."""
    head = "apiVersion: v1\n  kind: Pod\n  metadata:\n    name: {}\n  "
    text = f"apiVersion: v1\nkind: List\nitems:\n- {head.format('a')}{anchored}\n- {head.format('b')}{shared}\n"
    (problem,) = refused(text)
    assert re.sub(r"line [0-9]+", "line", said) in re.sub(r"line [0-9]+", "line", problem)
    assert problem.startswith("document 1, Pod/b, line ")


def test_a_byte_order_mark_takes_no_column() -> None:
    """What is inserted in the first line stands in the column of the others."""
    text = "\ufeffspec: {containers: [{ports: [{containerPort: 80}]}]}\nkind: Pod\napiVersion: v1\n"
    made = injected(text)
    assert loaded(made)[0]["kind"] == "Pod"
    assert uninject(made).text == text


def test_keys_behind_question_marks_are_refused() -> None:
    """YAML has another form of keys, in front of which nothing can be put."""
    text = DEPLOYMENT.partition(POD)[0] + "      ? containers\n      : [{name: a, ports: [{containerPort: 80}]}]\n"
    where = "document 1, Deployment/web, line 1"
    assert refused(text) == [
        f"{where}: line 11: has its key behind a question mark, where nothing can be inserted; write KEY:"
    ]


@pytest.mark.parametrize("place", ["metadata", "template"])
def test_a_workload_may_opt_out(place: str) -> None:
    """By an annotation of its own or of its pod template, and then nothing of it is looked at."""
    text = annotated(inject="false")
    if place == "metadata":
        text = DEPLOYMENT.replace("  name: web\n", '  name: web\n  annotations: {sidecar/inject: "false"}\n', 1)
    text = text.replace(POD, "      hostNetwork: true\n" + POD) + "---\n" + SERVICE
    assert inject(text, {}) == (text, [], [])


def test_opting_out_takes_out_what_is_there() -> None:
    """A workload that had the sidecar and says no now has none any more."""
    made = injected(DEPLOYMENT)
    said = made.replace("      annotations:\n", '      annotations:\n        sidecar/inject: "false"\n')
    assert injected(said) == annotated(inject="false")


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "mode"])
def test_an_annotation_is_a_flag(name: str) -> None:
    """Each says the same as the flag of its name."""
    value = {
        "image": "other:2", "pull-policy": "Always", "config-map": "settings", "app-drain": "40s", "cpu": "1",
        "memory": "1Gi", "memory-limit": "2Gi", "upstream": "http://127.0.0.1:3000", "listen": ":80", "admin": ":81",
        "trusted-proxies": "10.0.0.0/8", "health-path": "/healthz", "breaker": "shadow", "access-log": "off",
        "log-level": "debug", "rate-limit": "9/s", "max-body": "1MiB",
    }.get(name, "7s" if OPTIONS[name].metavar == "DURATION" else "7")  # fmt: skip
    by_annotation, by_flag = annotated(**{name: value}), injected(DEPLOYMENT, **{name: value})
    assert sidecar_of(injected(by_annotation)) == sidecar_of(by_flag)
    assert by_flag != injected(DEPLOYMENT)


def test_an_annotation_wins() -> None:
    """It is about one workload, the flag about all of the stream; the pod template's wins over the workload's."""
    text = annotated(retries="5").replace("  name: web\n", "  name: web\n  annotations: {sidecar/retries: '4'}\n", 1)
    arguments = sidecar_of(injected(text, retries="3"))["args"]
    assert arguments[arguments.index("--retries") + 1] == "5"


def test_its_own_record_is_no_setting() -> None:
    """Injecting again does not stumble over what injecting wrote."""
    assert injected(injected(DEPLOYMENT)) == injected(DEPLOYMENT)


@pytest.mark.parametrize(
    ("grace", "sleep", "flags", "seconds"),
    [
        ("", SLEEP, {}, 45),
        ("", "", {}, 35),
        ("", "", {"app-drain": "10s"}, None),
        ("300", SLEEP, {}, 300),
        ("'20'", SLEEP, {}, 45),
        ("45", SLEEP, {"drain-timeout": "30s"}, 70),
        ("45", SLEEP.replace("10", "40"), {}, 75),
        ("", SLEEP, {"mode": "classic"}, 40),
    ],
)
def test_the_grace_period_is_long_enough(grace: str, sleep: str, flags: dict[str, str], seconds: int | None) -> None:
    """Raised where what happens at a pod's end takes longer, with a word; never lowered."""
    said = f"      terminationGracePeriodSeconds: {grace}  # ours\n" if grace else ""
    text = DEPLOYMENT.replace(POD, said + POD) + sleep
    made = inject(text, flags)
    assert made.problems == []
    (pod,) = pods(loaded(made.text))
    assert pod.get("terminationGracePeriodSeconds") == seconds
    was = int(grace.strip("'") or 30)
    raised = [note for note in made.notes if f"raised from {was} to {seconds} seconds" in note]
    assert len(raised) == (seconds is not None and seconds > was)
    assert uninject(made.text).text == text


@pytest.mark.parametrize(("sleep", "told"), [("", True), (SLEEP.replace("10", "5"), True), (SLEEP, False)])
def test_an_application_that_stops_listening_at_once_is_told_of(sleep: str, told: bool) -> None:
    """Requests that come while load balancers do not know yet would be lost."""
    notes = inject(DEPLOYMENT + sleep, {}).notes
    assert any("let it sleep 10 seconds" in note for note in notes) == told


@pytest.mark.parametrize(
    ("before", "after"),
    [("terminationGracePeriodSeconds: 35", "terminationGracePeriodSeconds: 90"), ("targetPort: 8900", "targetPort: 1")],
)
def test_what_was_changed_since_stays(before: str, after: str) -> None:
    """Undoing does not undo what somebody else did, and says so."""
    made = injected(f"{DEPLOYMENT}---\n{SERVICE}").replace(before, after)
    text, notes, problems = uninject(made)
    assert after in text
    assert "sidecar/" not in text
    assert ["changed since; left as it is" in note for note in notes] == [True]
    assert problems == []


def test_what_cannot_be_restored_is_said() -> None:
    """An `annotations:` without anything is filled in brackets, and these stay."""
    text = DEPLOYMENT.replace("      labels:\n", "      annotations:\n      labels:\n")
    made = inject(text, {})
    (note,) = [note for note in made.notes if "byte for byte" in note]
    assert note == (
        "--uninject will not restore this stream byte for byte: line 8, 'annotations:', will be 'annotations: {}'"
    )
    assert uninject(made.text).text == text.replace("      annotations:\n", "      annotations: {}\n")


def test_a_container_of_the_same_name_is_not_taken_out() -> None:
    """What was not injected is not ours."""
    text = DEPLOYMENT.replace("name: web\n        image", "name: sidecar\n        image")
    assert uninject(text) == (text, [], [])


def test_a_volume_of_the_same_name_is_not_taken_out() -> None:
    """Without a config map none was injected; one is refused later too, and what is there stays."""
    text = DEPLOYMENT + VOLUMES
    made = injected(text)
    assert made.endswith(VOLUMES)
    assert injected(made) == made
    assert refused(made, config_map="settings")
    assert uninject(made) == (text, [], [])


def test_of_two_volumes_of_the_same_name_one_is_taken_out() -> None:
    """Somebody has put his own below the injected one: his stays."""
    theirs = VOLUMES.splitlines(keepends=True)[-1]
    text = DEPLOYMENT + VOLUMES.removesuffix(theirs)
    assert uninject(injected(text, config_map="settings") + theirs) == (text + theirs, [], [])


@pytest.mark.parametrize("record", ["garbage", '{"was":3,"made":[]}', '{"was":{"x":1},"made":[]}', "[]"])
def test_a_spoilt_record_does_no_harm(record: str) -> None:
    """The sidecar goes, the values that stand there stay."""
    made = injected(DEPLOYMENT)
    (line,) = [line for line in made.splitlines() if "sidecar/injected" in line]
    spoilt = made.replace(line, f"        sidecar/injected: '{record}'")
    text, _, problems = uninject(spoilt)
    assert problems == []
    assert "sidecar" not in text
    assert "terminationGracePeriodSeconds: 35" in text


def test_what_stands_first_in_an_item_is_restored() -> None:
    """What is put in front of a key behind a dash takes its place, and gives it back."""
    text = "kind: List\nitems:\n- spec: {containers: [{ports: [{containerPort: 80}]}]}\n  kind: Pod\n  apiVersion: v1\n"
    made = injected(text)
    assert made.startswith("kind: List\nitems:\n- metadata:\n    annotations:\n")
    assert uninject(made).text == text


def test_a_record_in_a_folded_text_is_a_record() -> None:
    """Some tools write long texts in blocks."""
    text = f"{DEPLOYMENT}---\n{SERVICE}"
    made = injected(text)
    folded = re.sub(r"( *)sidecar/injected: '(.*)'", r"\1sidecar/injected: >-\n\1  \2", made)
    assert folded.count(">-") == 2
    assert uninject(folded).text == text


@pytest.mark.parametrize(
    ("old", "new"),
    [("apps/v1", "example.com/v1"), ("kind: Deployment", "kind: Rollout"), ("apiVersion: apps/v1\n", "")],
)
def test_kinds_that_are_not_known_pass_as_they_came(old: str, new: str) -> None:
    """Another API may have a kind of the same name, and what its pods are is not known."""
    text = DEPLOYMENT.replace(old, new)
    assert inject(text, {}) == (text, [], [])


def test_a_bomb_of_aliases_costs_no_more_than_its_text() -> None:
    """What multiplies when it is built is not built."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join(lines) + "\n---\n" + DEPLOYMENT
    assert uninject(injected(text)).text == text


def test_merges_that_multiply_cost_no_more_than_their_text() -> None:
    """Each mapping is looked into once, however often it is merged."""
    merges = [f"      m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12)]
    text = DEPLOYMENT.replace(POD, "      m0: &m0 {x: y}\n" + "".join(merges) + "      <<: *m11\n" + POD)
    assert uninject(injected(text)).text == text


def test_a_mapping_that_merges_itself_ends() -> None:
    """An alias may stand within its own anchor."""
    text = DEPLOYMENT.replace("    metadata:\n", "    metadata: &me\n      <<: *me\n")
    assert uninject(injected(text)).text == text
