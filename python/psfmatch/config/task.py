"""Tasks: named, configured, logged steps that hold other tasks, and the `Struct` that they return.

The members are those that the LSST pipelines document for their tasks, so that one of ours can be a subtask
of one of theirs and the other way round. What serves to run pipelines (graphs, repositories) is left out.
"""

from __future__ import annotations

import functools
import logging
import time
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

from psfmatch.config.brief import MOST_IN_ALL, cut
from psfmatch.config.equality import ByValue
from psfmatch.config.later import laterClass
from psfmatch.config.options import Options
from psfmatch.config.tracing import TraceLog, getLogger, writingFor

if TYPE_CHECKING:
    from lsst.pex.config import Config, ConfigurableField

__all__ = ["Struct", "Task", "TaskMetadata", "timeMethod"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
AnyTask = TypeVar("AnyTask", bound="Task")


class Struct(ByValue, types.SimpleNamespace):
    """What a method of a task returns: named values.

    Examples
    --------
    >>> result = Struct(kernel=1, background=2)
    >>> result.kernel, "background" in result, result.getDict()
    (1, True, {'kernel': 1, 'background': 2})
    """

    def getDict(self) -> dict[str, Any]:
        """Return the values by name, as a shallow copy."""
        return dict(vars(self))

    def __contains__(self, name: object) -> bool:
        return name in vars(self)


class TaskMetadata(MutableMapping[str, Any]):
    """Values by name, in the order in which they came.

    Assigning replaces a value, `add` keeps the earlier ones. Where a value is itself a mapping, its items can
    be read by ``"name.item"``.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = dict(values or {})

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        outer, separator, inner = name.partition(".")
        group: Any = self._values.get(outer)
        # The metadata of other frameworks are mappings in all but name.
        if separator and hasattr(group, "keys") and inner in group:
            return group[inner]
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return cut(f"{type(self).__name__}({self._values!r})", MOST_IN_ALL)

    def add(self, name: str, value: Any) -> None:
        """Append a value to those under a name; a single value becomes a list with its second."""
        if name in self._values:
            self._values[name] = [*self.getArray(name), value]
        else:
            self._values[name] = value

    def getArray(self, name: str) -> list[Any]:
        """Return all values under a name as a list."""
        value = self[name]
        return list(value) if isinstance(value, list) else [value]


class Task:
    """A named and configured step of processing.

    Parameters
    ----------
    config : `lsst.pex.config.Config`, optional
        Configuration, an instance of `ConfigClass`. The task validates it and keeps a frozen copy; the
        caller's own stays as it is. By default that of the parent's field called ``name``, or a new one. `Options`
        are taken for a valid configuration, which is made when somebody reads it.
    name : `str`, optional
        Name of the task, by default ``_DefaultName``; a subtask needs one.
    parentTask : `Task` or an LSST task, optional
        Task that holds this one.
    log : `logging.Logger` or `lsst.utils.logging.LsstLogAdapter`, optional
        Logger of which the task's is a child, by default the parent's, or ``psfmatch``.

    Attributes
    ----------
    config : `lsst.pex.config.Config`
        Configuration; frozen.
    log : `lsst.utils.logging.LsstLogAdapter`
        Logger called ``psfmatch.`` and the full name of the task, or by the parent's logger and its name; a plain
        logger with ``verbose`` and ``trace`` besides, see `psfmatch.config.tracing`.
    metadata : `TaskMetadata`
        Numbers that the task leaves behind, its timing among them.

    Raises
    ------
    ValueError
        Raised if the configuration is not valid (`lsst.pex.config.FieldValidationError`), or without a name.
    TypeError
        Raised if ``config`` is not a `ConfigClass`.
    """

    ConfigClass: ClassVar[Any] = laterClass("lsst.pex.config:Config")
    _DefaultName: ClassVar[str | None] = None

    def __init__(
        self,
        config: Config | Options | None = None,
        name: str | None = None,
        parentTask: Any = None,
        log: logging.Logger | None = None,
    ) -> None:
        name = name or (self._DefaultName if parentTask is None else None)
        if name is None:
            kind = "task" if parentTask is None else "subtask"
            raise ValueError(f"this {type(self).__name__} is a {kind} without a name; give name=")
        if config is None and parentTask is not None:
            field = getattr(parentTask.config, name)
            config = getattr(field, "value", field)
        self._name = name
        self._fullName = name
        self._taskDict: dict[str, weakref.ref[Any]] = {}
        if parentTask is not None:
            # A foreign parent may lack any of these: the task then counts as the top of its own hierarchy.
            if hasattr(parentTask, "getFullName"):
                self._fullName = f"{parentTask.getFullName()}.{name}"
            self._taskDict = getattr(parentTask, "_taskDict", self._taskDict)
        parentLog = parentTask._log if isinstance(parentTask, Task) else getattr(parentTask, "log", None)
        if log is not None:
            logName = f"{log.name}.{self._fullName}"
        elif parentLog is not None:
            logName = f"{parentLog.name}.{name}"
        else:
            logName = f"psfmatch.{self._fullName}"
        self._log: Any = getLogger(logName)
        # What the options of the task are read from: the configuration, or options that were given.
        if isinstance(config, Options):
            self._given: Any = config
        else:
            self._given = _frozen(self.ConfigClass()) if config is None else _frozenCopy(config, type(self))
        self.metadata = TaskMetadata()
        self._taskDict[self._fullName] = weakref.ref(self)

    @property
    def log(self) -> Any:
        """The logger, with the methods of LSST's adapter."""
        if type(self._log) is TraceLog:
            from psfmatch.config.taskLog import getTaskLog

            self._log = getTaskLog(self._log.name)
        return self._log

    @log.setter
    def log(self, log: Any) -> None:
        self._log = log

    @property
    def config(self) -> Any:
        """The configuration, frozen."""
        if isinstance(self._given, Options):
            made = self.ConfigClass()
            self._given.setIn(made)
            self._given = _frozen(made)
        return self._given

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process gets a task of its own, without the parent: weak references cannot travel.
        return _remake, (type(self), self.config, self._name)

    def __eq__(self, other: object) -> bool:
        """Whether another process would get the same task, whoever its parent is."""
        if type(self) is not type(other):
            return NotImplemented
        (_, ours, *own), (_, theirs, *others) = self.__reduce__()[1], other.__reduce__()[1]
        return self is other or (own == others and bool(ours.compare(theirs)))

    def __hash__(self) -> int:
        return hash((type(self), self._name))

    def getName(self) -> str:
        """Return the name of the task."""
        return self._name

    def getFullName(self) -> str:
        """Return the names of all parents and of the task, joined by periods."""
        return self._fullName

    def _computeFullName(self, name: str) -> str:
        # LSST tasks ask their parent for this.
        return f"{self._fullName}.{name}"

    def getTaskDict(self) -> dict[str, weakref.ref[Any]]:
        """Return weak references to the top-level task and all tasks below it, by full name."""
        return dict(self._taskDict)

    def makeSubtask(self, name: str, **keyArgs: Any) -> None:
        """Make a task that the configuration names, and keep it as the attribute ``name``.

        Parameters
        ----------
        name : `str`
            Field of the configuration, a ``ConfigurableField`` or ``RegistryField``; also the subtask's name.
        **keyArgs
            Further arguments of the subtask; ``config`` and ``parentTask`` are given by themselves.

        Raises
        ------
        ValueError
            Raised if the configuration has no such field.
        """
        target: Any = getattr(self.config, name, None)
        if not hasattr(target, "apply"):
            known = [key for key, value in self.config.items() if hasattr(value, "apply")]
            raise ValueError(
                f"the configuration of {self._fullName} has no subtask {name!r}; it has: {', '.join(known) or 'none'}"
            )
        setattr(self, name, target.apply(name=name, parentTask=self, **keyArgs))

    @classmethod
    def makeField(cls, doc: str) -> ConfigurableField[Any]:
        """Make a configuration field that holds a task of this class.

        Parameters
        ----------
        doc : `str`
            What the task does for the one that holds it.
        """
        from lsst.pex.config import ConfigurableField

        return ConfigurableField(doc=doc, target=cls)

    def getFullMetadata(self) -> TaskMetadata:
        """Return the metadata of all tasks of the hierarchy.

        Returns
        -------
        metadata : `TaskMetadata`
            Metadata by full task name with ``:`` for the periods; an item is
            ``metadata["topLevelTaskName:subtaskName.itemName"]``.
        """
        tasks = self._liveTasks()
        return TaskMetadata({name.replace(".", ":"): task.metadata for name, task in tasks.items()})

    def emptyMetadata(self) -> None:
        """Give the task and all tasks below it new, empty metadata."""
        for name, task in self._liveTasks().items():
            if name == self._fullName or name.startswith(self._fullName + "."):
                # A task of another framework keeps its own kind.
                task.metadata = type(task.metadata)()

    def getSchemaCatalogs(self) -> dict[str, Any]:
        """Return the empty catalogues that show what this task writes, by name; none by default."""
        return {}

    def getAllSchemaCatalogs(self) -> dict[str, Any]:
        """Return the empty catalogues of all tasks of the hierarchy, by name: the same from any of them."""
        catalogs: dict[str, Any] = {}
        for task in self._liveTasks().values():
            # Tasks of another framework may know none.
            catalogs.update(getattr(task, "getSchemaCatalogs", dict)())
        return catalogs

    @contextmanager
    def timer(self, name: str, logLevel: int = logging.DEBUG) -> Iterator[None]:
        """Log and record when a block of code starts and ends.

        Parameters
        ----------
        name : `str`
            Name of the block. ``<name>StartUtc``, ``<name>EndUtc`` (ISO 8601), ``<name>StartCpuTime``,
            ``<name>EndCpuTime`` (s, of the process with all its threads) and ``<name>StartWallTime``,
            ``<name>EndWallTime`` (s, of a clock without a zero point) are added to `metadata`.
        logLevel : `int`
            Level of the two log lines.
        """
        start = time.perf_counter()
        self._recordTime(name + "Start")
        self._log.log(logLevel, "%s: start", name)
        try:
            with writingFor(self._log.name):
                yield
        finally:
            self._recordTime(name + "End")
            self._log.log(logLevel, "%s: end after %.3f s", name, time.perf_counter() - start)

    def _recordTime(self, name: str) -> None:
        self.metadata.add(name + "Utc", datetime.now(UTC).isoformat())
        self.metadata.add(name + "CpuTime", time.process_time())
        self.metadata.add(name + "WallTime", time.perf_counter())

    def _liveTasks(self) -> dict[str, Any]:
        tasks = {name: reference() for name, reference in self._taskDict.items()}
        return {name: task for name, task in tasks.items() if task is not None}


def timeMethod(
    method: Callable[Concatenate[AnyTask, Arguments], Result],
) -> Callable[Concatenate[AnyTask, Arguments], Result]:
    """Decorate a method of a task: it is timed under its own name, see `Task.timer`."""

    @functools.wraps(method)
    def timed(self: AnyTask, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with self.timer(method.__name__):
            return method(self, *args, **kwargs)

    return timed


def _frozenCopy(config: Config, TaskClass: type[Task]) -> Config:
    if not isinstance(config, TaskClass.ConfigClass):
        found = config.__name__ + " (the class itself)" if isinstance(config, type) else type(config).__name__
        raise TypeError(f"{TaskClass.__name__} needs a {TaskClass.ConfigClass.__name__} as config, got {found}")
    return _frozen(config if config._frozen else config.copy())


def _frozen(config: Config) -> Config:
    config.validate()
    config.freeze()
    return config


def _remake(TaskClass: type[Task], config: Config, name: str) -> Task:
    return TaskClass(config=config, name=name)
