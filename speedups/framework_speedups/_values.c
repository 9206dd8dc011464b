/* Values by key that know which ones changed, and which they were before: the part of a state that runs for each record.
 *
 * The plain twin is framework/_values.py; it says what each method does. A state adds the rest in Python.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *data;       /* a dict */
    PyObject *changed;    /* a set of keys */
    PyObject *undo;       /* a dict of values from before by key, or None */
    PyObject *tallied;    /* a dict of counts by key */
    PyObject *listed;     /* a list of lists of keys */
    PyObject *since_undo; /* a dict of counts by key */
    PyObject *immutable;  /* a frozenset of types */
    PyObject *copied;     /* makes a deep copy */
    PyObject *missing;    /* stands for no value in `undo` */
    char unsettled;
} Values;

/* ---- Values that can change in place */

/* Whether a value cannot change in place; -1 with an error set. */
static inline int is_immutable(const Values *self, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || value == Py_None)
        return 1;
    if (type == &PyList_Type || type == &PyDict_Type)
        return 0;
    return PySet_Contains(self->immutable, (PyObject *)type);
}

static int holds_only_immutable(const Values *self, PyObject *list)
{
    Py_ssize_t size = PyList_Size(list);
    for (Py_ssize_t i = 0; i < size; i++) {
        int immutable = is_immutable(self, PyList_GetItem(list, i));
        if (immutable != 1)
            return immutable;
    }
    return 1;
}

static int has_only_immutable_values(const Values *self, PyObject *dict)
{
    PyObject *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(dict, &position, NULL, &value)) {
        int immutable = is_immutable(self, value);
        if (immutable != 1)
            return immutable;
    }
    return 1;
}

/* A deep copy: made here where a list or a dict holds nothing that can change in place. */
static PyObject *copy_of(const Values *self, PyObject *value)
{
    int flat = 0;
    PyObject *copy = NULL;
    if (PyList_CheckExact(value)) {
        copy = PyList_GetSlice(value, 0, PyList_Size(value));
        flat = copy == NULL ? -1 : holds_only_immutable(self, copy);
    } else if (PyDict_CheckExact(value)) {
        copy = PyDict_Copy(value);
        flat = copy == NULL ? -1 : has_only_immutable_values(self, copy);
    }
    if (flat == 1)
        return copy;
    Py_XDECREF(copy);
    return flat < 0 ? NULL : PyObject_CallFunctionObjArgs(self->copied, value, NULL);
}

/* ---- Marking what is about to change */

static int is_complete(const Values *self)
{
    if (self->data != NULL && self->changed != NULL && self->tallied != NULL && self->listed != NULL
        && self->since_undo != NULL && self->immutable != NULL && self->copied != NULL && self->missing != NULL)
        return 1;
    PyErr_SetString(PyExc_SystemError, "values without __init__, or of which a part was deleted");
    return 0;
}

static inline int has_undo(const Values *self)
{
    return self->undo != NULL && self->undo != Py_None;
}

/* Before the value of a key changes, NULL for none: with undo, remember it unless that is done. */
static int mark(Values *self, PyObject *key, PyObject *value)
{
    if (!has_undo(self))
        return PySet_Add(self->changed, key);
    PyObject *undo = self->undo;
    if (PyDict_GetItemWithError(undo, key) != NULL)
        return 0;
    if (PyErr_Occurred())
        return -1;
    Py_INCREF(undo);
    PyObject *before;
    int immutable = value == NULL ? 1 : is_immutable(self, value);
    if (immutable < 0)
        before = NULL;
    else if (immutable)
        before = Py_NewRef(value == NULL ? self->missing : value);
    else
        before = copy_of(self, value);
    int status = before == NULL ? -1 : PyDict_SetItem(undo, key, before);
    Py_XDECREF(before);
    Py_DECREF(undo);
    return status;
}

/* Before a key is looked at: add to its value what was tallied. */
static int settle(Values *self, PyObject *key)
{
    if (!self->unsettled)
        return 0;
    PyObject *name = PyUnicode_InternFromString("_settle_key");
    PyObject *result = name == NULL ? NULL : PyObject_CallMethodObjArgs((PyObject *)self, name, key, NULL);
    Py_XDECREF(name);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* A new reference to the value, which counts as changed if it can change; NULL, also without an error, for none. */
static PyObject *value_of(Values *self, PyObject *key)
{
    if (!is_complete(self) || settle(self, key) < 0)
        return NULL;
    PyObject *value = PyDict_GetItemWithError(self->data, key);
    if (value == NULL)
        return NULL;
    Py_INCREF(value);
    int status = is_immutable(self, value);
    if (status == 0)
        status = mark(self, key, value);
    if (status < 0)
        Py_CLEAR(value);
    return value;
}

/* ---- The mapping's methods */

static PyObject *values_subscript(PyObject *self, PyObject *key)
{
    PyObject *value = value_of((Values *)self, key);
    if (value == NULL && !PyErr_Occurred()) {
        PyObject *error = PyObject_CallFunctionObjArgs(PyExc_KeyError, key, NULL);
        if (error != NULL) {
            PyErr_SetObject(PyExc_KeyError, error);
            Py_DECREF(error);
        }
    }
    return value;
}

static PyObject *values_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (count < 1 || count + named > 2)
        return PyErr_Format(PyExc_TypeError, "get expected 1 or 2 arguments, got %zd", count + named);
    if (named && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "default") != 0)
        return PyErr_Format(PyExc_TypeError, "get got an unexpected keyword argument %R", PyTuple_GetItem(names, 0));
    PyObject *value = value_of((Values *)self, args[0]);
    if (value != NULL || PyErr_Occurred())
        return value;
    return Py_NewRef(count + named == 2 ? args[1] : Py_None);
}

static int values_set(PyObject *object, PyObject *key, PyObject *value)
{
    Values *self = (Values *)object;
    if (!is_complete(self) || settle(self, key) < 0)
        return -1;
    PyObject *before = NULL;
    if (has_undo(self) || value == NULL) {
        before = PyDict_GetItemWithError(self->data, key);
        if (before == NULL && PyErr_Occurred())
            return -1;
        if (before == NULL && value == NULL)
            return PyDict_DelItem(self->data, key); /* raises KeyError */
        Py_XINCREF(before);
    }
    int status = mark(self, key, before);
    Py_XDECREF(before);
    if (status < 0)
        return -1;
    return value == NULL ? PyDict_DelItem(self->data, key) : PyDict_SetItem(self->data, key, value);
}

static PyObject *values_mark(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    Values *self = (Values *)object;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "_mark expected 2 arguments, got %zd", count);
    if (!is_complete(self) || mark(self, args[0], args[1] == self->missing ? NULL : args[1]) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

/* ---- Tallies */

/* Add a number to the count of a key, which is gone at 0. */
static int add_count(PyObject *counts, PyObject *key, long long number)
{
    PyObject *count = PyDict_GetItemWithError(counts, key);
    if (count == NULL && PyErr_Occurred())
        return -1;
    long long sum = count == NULL ? 0 : PyLong_AsLongLong(count);
    if (sum == -1 && PyErr_Occurred())
        return -1;
    sum += number;
    if (sum == 0 || (count == NULL && number < 0)) /* what is not there cannot be taken away: raises KeyError */
        return PyDict_DelItem(counts, key);
    count = PyLong_FromLongLong(sum);
    int status = count == NULL ? -1 : PyDict_SetItem(counts, key, count);
    Py_XDECREF(count);
    return status;
}

/* Add a number to the count of each key of a list; gives how many keys it came through. */
static Py_ssize_t add_counts(PyObject *counts, PyObject *keys, long long number)
{
    Py_ssize_t i = 0;
    for (; i < PyList_Size(keys); i++) { /* what looks for a key may change the list */
        PyObject *key = Py_NewRef(PyList_GetItem(keys, i));
        int status = add_count(counts, key, number);
        Py_DECREF(key);
        if (status < 0)
            break;
    }
    return i;
}

static PyObject *values_tally(PyObject *object, PyObject *given)
{
    Values *self = (Values *)object;
    if (!is_complete(self))
        return NULL;
    PyObject *keys = has_undo(self) || !PyList_CheckExact(given) ? PySequence_List(given) : Py_NewRef(given);
    if (keys == NULL)
        return NULL;
    self->unsettled = 1;
    PyObject *tallied = Py_NewRef(self->tallied);
    Py_ssize_t done = 0;
    if (!has_undo(self) || PyList_Append(self->listed, keys) == 0)
        done = add_counts(tallied, keys, 1);
    if (PyErr_Occurred() && has_undo(self)) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyList_SetSlice(keys, done, PyList_Size(keys), NULL);
        PyErr_Restore(type, value, traceback);
    }
    Py_DECREF(tallied);
    Py_DECREF(keys);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- Undo */

static PyObject *values_begin_undo(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    PyObject *old = ((Values *)object)->undo, *undo = PyDict_New();
    if (undo == NULL)
        return NULL;
    ((Values *)object)->undo = undo;
    Py_XDECREF(old);
    return Py_NewRef(Py_None);
}

static PyObject *values_touched(PyObject *object, void *Py_UNUSED(closure))
{
    const Values *self = (Values *)object;
    if (!is_complete(self))
        return NULL;
    PyObject *count;
    Py_ssize_t sum = has_undo(self) ? PyDict_Size(self->undo) : 0, position = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(self->listed); i++)
        sum += PyList_Size(PyList_GetItem(self->listed, i));
    while (PyDict_Next(self->since_undo, &position, NULL, &count))
        sum += PyLong_AsSsize_t(count);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(sum);
}

static int forget_undo(Values *self)
{
    PyObject *old = self->undo;
    self->undo = Py_NewRef(Py_None);
    Py_XDECREF(old);
    PyDict_Clear(self->since_undo);
    return PyList_SetSlice(self->listed, 0, PyList_Size(self->listed), NULL);
}

static PyObject *values_end_undo(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Values *self = (Values *)object;
    if (!is_complete(self))
        return NULL;
    PyObject *key;
    Py_ssize_t position = 0;
    int status = 0;
    PyObject *undo = has_undo(self) ? Py_NewRef(self->undo) : NULL;
    while (undo != NULL && status == 0 && PyDict_Next(undo, &position, &key, NULL))
        status = PySet_Add(self->changed, key);
    Py_XDECREF(undo);
    return status < 0 || forget_undo(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static int undo_tallies(Values *self)
{
    PyObject *key, *count;
    Py_ssize_t position = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(self->listed); i++) {
        PyObject *keys = PyList_GetItem(self->listed, i);
        if (add_counts(self->tallied, keys, -1) < PyList_Size(keys))
            return -1;
    }
    while (PyDict_Next(self->since_undo, &position, &key, &count))
        if (add_count(self->tallied, key, -PyLong_AsLongLong(count)) < 0)
            return -1;
    return 0;
}

static int undo_values(Values *self)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    int status = 0;
    while (has_undo(self) && status == 0 && PyDict_Next(self->undo, &position, &key, &value)) {
        if (value != self->missing)
            status = PyDict_SetItem(self->data, key, value);
        else if ((status = PyDict_Contains(self->data, key)) == 1)
            status = PyDict_DelItem(self->data, key);
    }
    return status;
}

static PyObject *values_undo(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Values *self = (Values *)object;
    if (!is_complete(self) || undo_tallies(self) < 0 || undo_values(self) < 0 || forget_undo(self) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

/* ---- The type */

static int values_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    Values *self = (Values *)object;
    PyObject *data, *immutable, *copied, *missing;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Values takes no keyword arguments");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "O!OOO:Values", &PyDict_Type, &data, &immutable, &copied, &missing))
        return -1;
    PyObject *changed = PySet_New(NULL), *tallied = PyDict_New(), *listed = PyList_New(0), *since_undo = PyDict_New();
    PyObject *old[] = {
        self->data, self->changed, self->undo, self->tallied, self->listed, self->since_undo, self->immutable,
        self->copied, self->missing};
    self->data = Py_NewRef(data);
    self->changed = changed;
    self->undo = Py_NewRef(Py_None);
    self->tallied = tallied;
    self->listed = listed;
    self->since_undo = since_undo;
    self->immutable = Py_NewRef(immutable);
    self->copied = Py_NewRef(copied);
    self->missing = Py_NewRef(missing);
    self->unsettled = 0;
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        Py_XDECREF(old[i]);
    return changed == NULL || tallied == NULL || listed == NULL || since_undo == NULL ? -1 : 0;
}

static int values_traverse(PyObject *object, visitproc visit, void *arg)
{
    Values *self = (Values *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->data);
    Py_VISIT(self->changed);
    Py_VISIT(self->undo);
    Py_VISIT(self->tallied);
    Py_VISIT(self->listed);
    Py_VISIT(self->since_undo);
    Py_VISIT(self->immutable);
    Py_VISIT(self->copied);
    Py_VISIT(self->missing);
    return 0;
}

static int values_clear(PyObject *object)
{
    Values *self = (Values *)object;
    Py_CLEAR(self->data);
    Py_CLEAR(self->changed);
    Py_CLEAR(self->undo);
    Py_CLEAR(self->tallied);
    Py_CLEAR(self->listed);
    Py_CLEAR(self->since_undo);
    Py_CLEAR(self->immutable);
    Py_CLEAR(self->copied);
    Py_CLEAR(self->missing);
    return 0;
}

static void values_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    values_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef values_members[] = {
    {"_data", T_OBJECT_EX, offsetof(Values, data), 0, NULL},
    {"_changed", T_OBJECT_EX, offsetof(Values, changed), 0, NULL},
    {"_undo", T_OBJECT_EX, offsetof(Values, undo), 0, NULL},
    {"_tallied", T_OBJECT_EX, offsetof(Values, tallied), READONLY, NULL},
    {"_listed", T_OBJECT_EX, offsetof(Values, listed), READONLY, NULL},
    {"_since_undo", T_OBJECT_EX, offsetof(Values, since_undo), READONLY, NULL},
    {"_unsettled", T_BOOL, offsetof(Values, unsettled), 0, NULL},
    {NULL}
};
static PyGetSetDef values_getters[] = {
    {"touched", values_touched, NULL, "How many keys that can be undone; of what was tallied, how many times.", NULL},
    {NULL}
};
static PyMethodDef values_methods[] = {
    {"get", (PyCFunction)(void (*)(void))values_get, METH_FASTCALL | METH_KEYWORDS,
     "The value of a key, which counts as changed if it can change in place; else the second argument, or None."},
    {"_mark", (PyCFunction)(void (*)(void))values_mark, METH_FASTCALL, "Before the value of a key changes."},
    {"tally", values_tally, METH_O,
     "Add 1 to the value of each key, as often as it comes; a key without a value begins at 0.\n\n"
     "The fast way to count, for states whose values are all whole numbers. For one that is not, `TallyError` comes\n"
     "when it is next read or stored, and ends the run, whatever `--on-error` says: it is not the fault of a record."},
    {"begin_undo", values_begin_undo, METH_NOARGS, "From here, remember the values from before."},
    {"end_undo", values_end_undo, METH_NOARGS, "Keep what was changed since `begin_undo`."},
    {"undo", values_undo, METH_NOARGS,
     "Bring back what was there at `begin_undo`, values changed in place included."},
    {NULL}
};
static PyType_Slot values_slots[] = {
    {Py_tp_doc, "Values by key that know which ones changed, and which they were before."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, values_init},
    {Py_tp_dealloc, values_dealloc},
    {Py_tp_traverse, values_traverse},
    {Py_tp_clear, values_clear},
    {Py_tp_members, values_members},
    {Py_tp_methods, values_methods},
    {Py_tp_getset, values_getters},
    {Py_mp_subscript, values_subscript},
    {Py_mp_ass_subscript, values_set},
    {0, NULL}
};
static PyType_Spec values_spec = {
    .name = "framework_speedups.Values",
    .basicsize = sizeof(Values),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = values_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &values_spec, NULL);
    int status = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return status;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL}
};
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "framework_speedups._values",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__values(void)
{
    return PyModuleDef_Init(&module_def);
}
