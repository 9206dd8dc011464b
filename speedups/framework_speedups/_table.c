/* A table in C: an implementation of a state.
 *
 * PlainTable in framework/table.py is the implementation in Python, and documents each method. A subclass provides
 * `helpers`: a frozenset of immutable types, and the five objects that struct Table describes.
 *
 * Looking up a key may run its own __hash__ and __eq__, and these may call the table. So an object that is borrowed
 * from a container is kept alive during such a call.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *data;       /* a dict */
    PyObject *changed;    /* a set of keys */
    PyObject *deleted;    /* a set of the changed keys that were deleted at some time */
    PyObject *tallied;    /* a dict of counts by key */
    char tallying;        /* 0: `tallied` is empty */
    PyObject *undo;       /* a dict of values at begin_undo, by key; NULL while undo is off */
    PyObject *removed;    /* a dict of key objects that were deleted since undo began, by themselves */
    PyObject *listed;     /* a list of lists of keys that were tallied since undo began */
    PyObject *since_undo; /* a dict of counts of the keys that were in `listed` before it had to be searched */
    PyObject *broken;     /* an exception, or NULL */
    PyObject *helpers;    /* a tuple that owns the following objects */
    PyObject *immutable;   /* a frozenset of types */
    PyObject *copied;      /* makes a deep copy of a value */
    PyObject *missing;     /* marks keys without a value in `undo` */
    PyObject *tally_error; /* makes an exception of a key and its value */
    PyObject *stored_key;  /* returns the key object of a dict that equals a key */
    PyObject *check_key;   /* raises for an invalid key */
} Table;

/* ---- Types */

/* 1 if a value cannot change in place, else 0; -1 with an error set. */
static inline int is_immutable(const Table *self, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || value == Py_None)
        return 1;
    if (type == &PyList_Type || type == &PyDict_Type)
        return 0;
    return PySet_Contains(self->immutable, (PyObject *)type);
}

static inline int is_simple_key(PyObject *key)
{
    PyTypeObject *type = Py_TYPE(key);
    return type == &PyUnicode_Type || type == &PyBytes_Type || type == &PyLong_Type || key == Py_None;
}

/* 0 for a valid key, else -1 with an error set. */
static inline int check_key(const Table *self, PyObject *key)
{
    if (is_simple_key(key))
        return 0;
    if (PyTuple_CheckExact(key)) {
        Py_ssize_t i = 0, size = PyTuple_Size(key);
        while (i < size && is_simple_key(PyTuple_GetItem(key, i)))
            i++;
        if (i == size)
            return 0;
    }
    PyObject *result = PyObject_CallFunctionObjArgs(self->check_key, key, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* A new reference to the key object of a dict that equals a key; to the key itself if there is none. */
static PyObject *stored_key(const Table *self, PyObject *dict, PyObject *key)
{
    if (PyUnicode_CheckExact(key) || PyBytes_CheckExact(key))
        return Py_NewRef(key);
    return PyObject_CallFunctionObjArgs(self->stored_key, dict, key, NULL);
}

static int holds_only_immutable(const Table *self, PyObject *list)
{
    Py_ssize_t size = PyList_Size(list);
    for (Py_ssize_t i = 0; i < size; i++) {
        int immutable = is_immutable(self, PyList_GetItem(list, i));
        if (immutable != 1)
            return immutable;
    }
    return 1;
}

static int has_only_immutable_values(const Table *self, PyObject *dict)
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

/* A deep copy. It is made here, and not in Python, for a list or a dict without values that can change in place. */
static PyObject *copy_of(const Table *self, PyObject *value)
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

/* ---- Interrupted changes */

/* Store the error in `broken` after a step that failed and left the table half changed. */
static int whole_or_broken(Table *self, int status)
{
    if (status < 0 && self->broken == NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (traceback != NULL)
            PyException_SetTraceback(value, traceback);
        self->broken = Py_XNewRef(value);
        PyErr_Restore(type, value, traceback);
    }
    return status;
}

/* ---- Recording changes */

static int add_to_set(PyObject *set, PyObject *key)
{
    Py_INCREF(set);
    int status = PySet_Add(set, key);
    Py_DECREF(set);
    return status;
}

/* A new reference to a value of a dict; NULL without an error set if there is none, NULL with one after a failure. */
static PyObject *find(PyObject *dict, PyObject *key)
{
    PyObject *value = PyDict_GetItemWithError(dict, key);
    return Py_XNewRef(value);
}

/* Record a change before the value of a key changes; NULL: it has no value. With undo, keep the first old value. */
static int mark(Table *self, PyObject *key, PyObject *value)
{
    PyObject *undo = self->undo;
    if (undo == NULL)
        return add_to_set(self->changed, key);
    Py_INCREF(undo);
    int status = PyDict_Contains(undo, key);
    if (status == 0) {
        PyObject *before = NULL;
        int immutable = value == NULL ? 1 : is_immutable(self, value);
        if (immutable == 1)
            before = Py_NewRef(value == NULL ? self->missing : value);
        else if (immutable == 0)
            before = copy_of(self, value);
        status = before == NULL ? -1 : PyDict_SetItem(undo, key, before);
        Py_XDECREF(before);
    }
    Py_DECREF(undo);
    return status < 0 ? -1 : 0;
}

/* Called before a marked key is deleted. */
static int mark_deleted(Table *self, PyObject *key)
{
    if (self->undo == NULL)
        return add_to_set(self->deleted, key);
    int status = PyDict_Contains(self->removed, key);
    if (status != 0)
        return status < 0 ? -1 : 0;
    PyObject *stored = stored_key(self, self->data, key);
    status = stored == NULL ? -1 : PyDict_SetItem(self->removed, stored, stored);
    Py_XDECREF(stored);
    return status;
}

/* Mark each item of a list of keys. No other code may have a reference to the list. */
static int mark_all(Table *self, PyObject *keys, int deleting)
{
    Py_ssize_t size = keys == NULL ? -1 : PyList_Size(keys);
    int status = size < 0 ? -1 : 0;
    for (Py_ssize_t i = 0; i < size && status == 0; i++) {
        PyObject *key = PyList_GetItem(keys, i), *value = NULL;
        if (self->undo != NULL && (value = find(self->data, key)) == NULL && PyErr_Occurred())
            status = -1;
        if (status == 0)
            status = mark(self, key, value);
        if (status == 0 && deleting)
            status = mark_deleted(self, key);
        Py_XDECREF(value);
    }
    return status;
}

/* ---- Tallies */

/* Add a number to the count of a key. A count of 0 is removed. A new key is checked. */
static int add_count(const Table *self, PyObject *counts, PyObject *key, long long number)
{
    PyObject *count = PyDict_GetItemWithError(counts, key);
    if (count == NULL && (PyErr_Occurred() || check_key(self, key) < 0))
        return -1;
    long long sum = count == NULL ? 0 : PyLong_AsLongLong(count);
    if (sum == -1 && PyErr_Occurred())
        return -1;
    sum += number;
    if (sum == 0 || (count == NULL && number < 0)) /* raises KeyError for a key without a count */
        return PyDict_DelItem(counts, key);
    count = PyLong_FromLongLong(sum);
    int status = count == NULL ? -1 : PyDict_SetItem(counts, key, count);
    Py_XDECREF(count);
    return status;
}

/* Add a number to the counts of the first keys of a list. Returns the number of keys that succeeded. */
static Py_ssize_t add_counts(const Table *self, PyObject *counts, PyObject *keys, Py_ssize_t size, long long number)
{
    Py_ssize_t i = 0;
    for (; i < size; i++) {
        PyObject *key = PyList_GetItem(keys, i); /* NULL if the list has become shorter */
        Py_XINCREF(key);
        int status = key == NULL ? -1 : add_count(self, counts, key, number);
        Py_XDECREF(key);
        if (status < 0)
            break;
    }
    return i;
}

static int count_down(Table *self, PyObject *keys, Py_ssize_t size)
{
    return whole_or_broken(self, add_counts(self, self->tallied, keys, size, -1) < size ? -1 : 0);
}

static PyObject *table_tally(PyObject *object, PyObject *given)
{
    Table *self = (Table *)object;
    PyObject *keys = self->undo != NULL || !PyList_CheckExact(given) ? PySequence_List(given) : Py_NewRef(given);
    if (keys == NULL)
        return NULL;
    self->tallying = 1;
    Py_ssize_t size = PyList_Size(keys), done = add_counts(self, self->tallied, keys, size, 1);
    int status = done < size || (self->undo != NULL && PyList_Append(self->listed, keys) < 0) ? -1 : 0;
    if (status < 0) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (count_down(self, keys, done) == 0) {
            PyErr_Restore(type, value, traceback);
        } else {
            Py_XDECREF(type);
            Py_XDECREF(value);
            Py_XDECREF(traceback);
        }
    }
    Py_DECREF(keys);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* Replace the current TypeError by one that names the key, with the former as its cause. */
static void set_tally_error(const Table *self, PyObject *key, PyObject *value)
{
    PyObject *type, *cause, *traceback;
    PyErr_Fetch(&type, &cause, &traceback);
    PyErr_NormalizeException(&type, &cause, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(cause, traceback);
    PyObject *error = PyObject_CallFunctionObjArgs(self->tally_error, key, value, NULL);
    if (error != NULL) {
        PyException_SetCause(error, Py_XNewRef(cause));
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    Py_XDECREF(type);
    Py_XDECREF(cause);
    Py_XDECREF(traceback);
}

/* Add a number to the value of a marked key. */
static int add_number(Table *self, PyObject *key, PyObject *number)
{
    PyObject *value = find(self->data, key);
    if (value == NULL)
        return PyErr_Occurred() ? -1 : PyDict_SetItem(self->data, key, number);
    PyObject *sum = PyNumber_Add(value, number);
    if (sum == NULL && PyErr_ExceptionMatches(PyExc_TypeError))
        set_tally_error(self, key, value);
    int status = sum == NULL ? -1 : PyDict_SetItem(self->data, key, sum);
    Py_XDECREF(sum);
    Py_DECREF(value);
    return status;
}

/* The same for a count of tallies. `late`: the tallies came after undo began. */
static int add_tallied(Table *self, PyObject *key, long long count, int late)
{
    if (count == 0)
        return 0;
    PyObject *value = late ? find(self->data, key) : NULL;
    int status = -1;
    if (value != NULL || !PyErr_Occurred())
        status = late ? mark(self, key, value) : add_to_set(self->changed, key);
    Py_XDECREF(value);
    PyObject *number = status < 0 ? NULL : PyLong_FromLongLong(count);
    status = number == NULL ? -1 : add_number(self, key, number);
    Py_XDECREF(number);
    return status;
}

/* Remove and return the count of a key in a dict of counts; 0 if there is none, -1 with an error set. */
static long long take_count(PyObject *counts, PyObject *key)
{
    PyObject *count = PyDict_GetItemWithError(counts, key);
    if (count == NULL)
        return PyErr_Occurred() ? -1 : 0;
    long long number = PyLong_AsLongLong(count);
    return PyDict_DelItem(counts, key) < 0 ? -1 : number;
}

/* Move the keys in `listed` to counts in `since_undo`. */
static int look_through(Table *self)
{
    Py_ssize_t size;
    while ((size = PyList_Size(self->listed)) > 0) {
        PyObject *keys = Py_NewRef(PyList_GetItem(self->listed, size - 1));
        int status = PyList_SetSlice(self->listed, size - 1, size, NULL);
        Py_ssize_t count = PyList_Size(keys);
        if (status == 0 && add_counts(self, self->since_undo, keys, count, 1) < count)
            status = -1;
        Py_DECREF(keys);
        if (status < 0)
            return -1;
    }
    return 0;
}

/* Add the tally of a key to its value. `key` must be the key object of the tallies. */
static int move_stored(Table *self, PyObject *key)
{
    long long count = take_count(self->tallied, key);
    if (count < 0 || look_through(self) < 0)
        return -1;
    long long late = take_count(self->since_undo, key);
    if (late < 0 || add_tallied(self, key, count - late, 0) < 0)
        return -1;
    return add_tallied(self, key, late, 1);
}

static int move_tally(Table *self, PyObject *key)
{
    int known = PyDict_Contains(self->data, key);
    PyObject *stored = NULL;
    if (known >= 0)
        stored = known ? Py_NewRef(key) : stored_key(self, self->tallied, key);
    int status = stored == NULL ? -1 : move_stored(self, stored);
    Py_XDECREF(stored);
    return whole_or_broken(self, status);
}

/* Add the tally of a key to its value. Called before the key is read or written. */
static inline int add_tally(Table *self, PyObject *key)
{
    if (!self->tallying)
        return 0;
    if (PyDict_Size(self->tallied) == 0) {
        self->tallying = 0;
        return 0;
    }
    int tallied = PyDict_Contains(self->tallied, key);
    return tallied == 1 ? move_tally(self, key) : tallied;
}

/* Remove one count from the tallies, and add it to the value of its key. */
static int move_last(Table *self, PyObject *popitem)
{
    PyObject *item = PyObject_CallMethodObjArgs(self->tallied, popitem, NULL);
    if (item == NULL)
        return -1;
    PyObject *key = PyTuple_GetItem(item, 0);
    int status = add_to_set(self->changed, key);
    if (status == 0)
        status = add_number(self, key, PyTuple_GetItem(item, 1));
    Py_DECREF(item);
    return status;
}

static int move_last_ones(Table *self, Py_ssize_t most)
{
    PyObject *popitem = PyUnicode_InternFromString("popitem");
    int status = popitem == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; i < most && status == 0 && PyDict_Size(self->tallied) > 0; i++)
        status = move_last(self, popitem);
    Py_XDECREF(popitem);
    return whole_or_broken(self, status);
}

static int move_each(Table *self, Py_ssize_t most)
{
    PyObject *keys = PyDict_Keys(self->tallied);
    int status = keys == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; i < most && status == 0 && i < PyList_Size(keys); i++)
        status = add_tally(self, PyList_GetItem(keys, i));
    Py_XDECREF(keys);
    return status;
}

/* 0, or -1 with an error set, which is `broken` if the table is broken. */
static int add_tallies(Table *self, Py_ssize_t most)
{
    if (self->broken != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(self->broken), self->broken);
        return -1;
    }
    if (PyDict_Size(self->tallied) == 0)
        return 0;
    return self->undo == NULL ? move_last_ones(self, most) : move_each(self, most);
}

static int add_all_tallies(Table *self)
{
    return add_tallies(self, PyDict_Size(self->tallied));
}

/* ---- The mapping's methods */

/* A new reference to a value, which counts as changed if it can change in place. NULL without an error set if there is
 * none, NULL with one after a failure. */
static PyObject *value_of(Table *self, PyObject *key)
{
    if (add_tally(self, key) < 0)
        return NULL;
    PyObject *value = find(self->data, key);
    if (value == NULL)
        return NULL;
    int status = is_immutable(self, value);
    if (status == 0)
        status = mark(self, key, value);
    if (status < 0)
        Py_CLEAR(value);
    return value;
}

static PyObject *table_subscript(PyObject *self, PyObject *key)
{
    PyObject *value = value_of((Table *)self, key);
    if (value == NULL && !PyErr_Occurred()) {
        PyObject *error = PyObject_CallFunctionObjArgs(PyExc_KeyError, key, NULL);
        if (error != NULL) {
            PyErr_SetObject(PyExc_KeyError, error);
            Py_DECREF(error);
        }
    }
    return value;
}

static PyObject *table_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (count < 1 || count + named > 2)
        return PyErr_Format(PyExc_TypeError, "get expected 1 or 2 arguments, got %zd", count + named);
    if (named && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "default") != 0)
        return PyErr_Format(PyExc_TypeError, "get got an unexpected keyword argument %R", PyTuple_GetItem(names, 0));
    PyObject *value = value_of((Table *)self, args[0]);
    if (value != NULL || PyErr_Occurred())
        return value;
    return Py_NewRef(count + named == 2 ? args[1] : Py_None);
}

static int set_value(Table *self, PyObject *key, PyObject *value)
{
    if (check_key(self, key) < 0 || add_tally(self, key) < 0)
        return -1;
    PyObject *before = NULL;
    if (self->undo != NULL && (before = find(self->data, key)) == NULL && PyErr_Occurred())
        return -1;
    int status = mark(self, key, before);
    Py_XDECREF(before);
    return status < 0 ? -1 : PyDict_SetItem(self->data, key, value);
}

static int delete_value(Table *self, PyObject *key)
{
    if (add_tally(self, key) < 0)
        return -1;
    PyObject *before = find(self->data, key);
    if (before == NULL)
        return PyErr_Occurred() ? -1 : PyDict_DelItem(self->data, key); /* raises KeyError */
    int status = mark(self, key, before);
    Py_DECREF(before);
    if (status < 0 || mark_deleted(self, key) < 0)
        return -1;
    return PyDict_DelItem(self->data, key);
}

static int table_assign(PyObject *self, PyObject *key, PyObject *value)
{
    return value == NULL ? delete_value((Table *)self, key) : set_value((Table *)self, key, value);
}

static int table_contains(PyObject *object, PyObject *key)
{
    Table *self = (Table *)object;
    int status = PyDict_Contains(self->data, key);
    return status == 0 ? PyDict_Contains(self->tallied, key) : status;
}

static Py_ssize_t table_length(PyObject *self)
{
    return add_all_tallies((Table *)self) < 0 ? -1 : PyDict_Size(((Table *)self)->data);
}

static PyObject *table_iter(PyObject *self)
{
    return add_all_tallies((Table *)self) < 0 ? NULL : PyObject_GetIter(((Table *)self)->data);
}

static PyObject *table_repr(PyObject *self)
{
    return add_all_tallies((Table *)self) < 0 ? NULL : PyUnicode_FromFormat("State(%R)", ((Table *)self)->data);
}

static PyObject *table_keys(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return add_all_tallies((Table *)self) < 0 ? NULL : PyObject_CallMethod(((Table *)self)->data, "keys", NULL);
}

/* A list of the keys whose values can change in place. */
static PyObject *mutable_keys(const Table *self)
{
    PyObject *keys = PyList_New(0), *key, *value;
    Py_ssize_t position = 0;
    int status = keys == NULL ? -1 : 0;
    while (status == 0 && PyDict_Next(self->data, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        status = is_immutable(self, value);
        if (status >= 0)
            status = status == 1 ? 0 : PyList_Append(keys, key);
        Py_DECREF(value);
        Py_DECREF(key);
    }
    if (status < 0)
        Py_CLEAR(keys);
    return keys;
}

static int mark_mutable(Table *self)
{
    if (add_all_tallies(self) < 0)
        return -1;
    PyObject *keys = mutable_keys(self);
    int status = mark_all(self, keys, 0);
    Py_XDECREF(keys);
    return status;
}

static PyObject *table_items(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return mark_mutable((Table *)self) < 0 ? NULL : PyObject_CallMethod(((Table *)self)->data, "items", NULL);
}

static PyObject *table_values(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return mark_mutable((Table *)self) < 0 ? NULL : PyObject_CallMethod(((Table *)self)->data, "values", NULL);
}

static PyObject *table_clear(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Table *self = (Table *)object;
    if (add_all_tallies(self) < 0)
        return NULL;
    PyObject *keys = PyDict_Keys(self->data);
    int status = mark_all(self, keys, 1);
    Py_XDECREF(keys);
    return status < 0 ? NULL : PyObject_CallMethod(self->data, "clear", NULL);
}

/* The same for each item of a list of keys. No other code may have a reference to the list. */
static int check_keys(const Table *self, PyObject *keys)
{
    Py_ssize_t size = PyList_Size(keys);
    for (Py_ssize_t i = 0; i < size; i++) {
        if (check_key(self, PyList_GetItem(keys, i)) < 0)
            return -1;
    }
    return 0;
}

static PyObject *table_update(PyObject *object, PyObject *args, PyObject *names)
{
    Table *self = (Table *)object;
    PyObject *new = PyObject_Call((PyObject *)&PyDict_Type, args, names);
    PyObject *keys = new == NULL ? NULL : PyDict_Keys(new);
    int status = -1;
    if (keys != NULL && check_keys(self, keys) == 0 && add_all_tallies(self) == 0 && mark_all(self, keys, 0) == 0)
        status = PyDict_Update(self->data, new);
    Py_XDECREF(keys);
    Py_XDECREF(new);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- Undo */

static int forget_undo(Table *self)
{
    Py_CLEAR(self->undo);
    PyDict_Clear(self->removed);
    PyDict_Clear(self->since_undo);
    return PyList_SetSlice(self->listed, 0, PyList_Size(self->listed), NULL);
}

static int add_keys_to_set(PyObject *set, PyObject *dict)
{
    PyObject *key;
    Py_ssize_t position = 0;
    int status = 0;
    while (status == 0 && PyDict_Next(dict, &position, &key, NULL)) {
        Py_INCREF(key);
        status = add_to_set(set, key);
        Py_DECREF(key);
    }
    return status;
}

static int keep_changes(Table *self)
{
    PyObject *undo = Py_XNewRef(self->undo);
    int status = undo == NULL ? 0 : add_keys_to_set(self->changed, undo);
    Py_XDECREF(undo);
    return status < 0 ? -1 : add_keys_to_set(self->deleted, self->removed);
}

static PyObject *table_end_undo(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Table *self = (Table *)object;
    if (whole_or_broken(self, keep_changes(self)) < 0 || forget_undo(self) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *table_begin_undo(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    PyObject *undo = PyDict_New(), *ended = undo == NULL ? NULL : table_end_undo(object, NULL);
    if (ended == NULL) {
        Py_XDECREF(undo);
        return NULL;
    }
    ((Table *)object)->undo = undo;
    return ended;
}

static int undo_tallies(Table *self)
{
    PyObject *key, *count;
    Py_ssize_t position = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(self->listed); i++) {
        PyObject *keys = Py_NewRef(PyList_GetItem(self->listed, i));
        int status = count_down(self, keys, PyList_Size(keys));
        Py_DECREF(keys);
        if (status < 0)
            return -1;
    }
    int status = 0;
    while (status == 0 && PyDict_Next(self->since_undo, &position, &key, &count)) {
        Py_INCREF(key);
        status = add_count(self, self->tallied, key, -PyLong_AsLongLong(count));
        Py_DECREF(key);
    }
    return status;
}

/* Delete a key if it exists. */
static int discard(PyObject *dict, PyObject *key)
{
    int status = PyDict_Contains(dict, key);
    return status == 1 ? PyDict_DelItem(dict, key) : status;
}

static int undo_value(Table *self, PyObject *key, PyObject *value)
{
    if (value == self->missing)
        return discard(self->data, key);
    PyObject *removed = find(self->removed, key);
    if (removed == NULL)
        return PyErr_Occurred() ? -1 : PyDict_SetItem(self->data, key, value);
    int status = discard(self->data, key);
    if (status == 0)
        status = PyDict_SetItem(self->data, removed, value);
    Py_DECREF(removed);
    return status;
}

static int undo_values(Table *self)
{
    PyObject *key, *value, *undo = Py_XNewRef(self->undo);
    Py_ssize_t position = 0;
    int status = 0;
    while (undo != NULL && status == 0 && PyDict_Next(undo, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        status = undo_value(self, key, value);
        Py_DECREF(value);
        Py_DECREF(key);
    }
    Py_XDECREF(undo);
    return status;
}

static int bring_back(Table *self)
{
    return undo_tallies(self) < 0 ? -1 : undo_values(self);
}

static PyObject *table_undo(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Table *self = (Table *)object;
    if (self->broken == NULL && whole_or_broken(self, bring_back(self)) < 0)
        return NULL;
    return forget_undo(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *table_touched(PyObject *object, void *Py_UNUSED(closure))
{
    const Table *self = (Table *)object;
    PyObject *count;
    Py_ssize_t sum = self->undo == NULL ? 0 : PyDict_Size(self->undo), position = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(self->listed); i++)
        sum += PyList_Size(PyList_GetItem(self->listed, i));
    while (PyDict_Next(self->since_undo, &position, NULL, &count))
        sum += PyLong_AsSsize_t(count);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(sum);
}

/* ---- The rest of the runtime's side */

static PyObject *table_is_changed(PyObject *object, void *Py_UNUSED(closure))
{
    const Table *self = (Table *)object;
    return PyBool_FromLong(PySet_Size(self->changed) > 0 || PyDict_Size(self->tallied) > 0);
}

static PyObject *table_add_tallies(PyObject *object, PyObject *number)
{
    Table *self = (Table *)object;
    Py_ssize_t most = PyNumber_AsSsize_t(number, PyExc_OverflowError);
    if ((most == -1 && PyErr_Occurred()) || add_tallies(self, most) < 0)
        return NULL;
    return PyLong_FromSsize_t(PyDict_Size(self->tallied));
}

static PyObject *table_take_changed(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Table *self = (Table *)object;
    if (add_all_tallies(self) < 0)
        return NULL;
    PyObject *changed = PySet_New(NULL), *deleted = PySet_New(NULL), *taken = NULL;
    if (changed != NULL && deleted != NULL)
        taken = PyTuple_Pack(2, self->changed, self->deleted);
    if (taken == NULL) {
        Py_XDECREF(changed);
        Py_XDECREF(deleted);
        return NULL;
    }
    Py_DECREF(self->changed); /* the tuple has references of its own */
    Py_DECREF(self->deleted);
    self->changed = changed;
    self->deleted = deleted;
    return taken;
}

static PyObject *table_view(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return add_all_tallies((Table *)self) < 0 ? NULL : Py_NewRef(((Table *)self)->data);
}

static PyObject *table_free(PyObject *object, PyObject *number)
{
    PyObject *data = ((Table *)object)->data, *popitem = PyUnicode_InternFromString("popitem");
    Py_ssize_t most = PyNumber_AsSsize_t(number, PyExc_OverflowError);
    for (Py_ssize_t i = 0; popitem != NULL && !PyErr_Occurred() && i < most && PyDict_Size(data) > 0; i++)
        Py_XDECREF(PyObject_CallMethodObjArgs(data, popitem, NULL));
    Py_XDECREF(popitem);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(PyDict_Size(data));
}

/* ---- The type */

static int take_helpers(Table *self, PyTypeObject *type)
{
    self->helpers = PyObject_GetAttrString((PyObject *)type, "helpers");
    return self->helpers != NULL
        && PyArg_ParseTuple(
            self->helpers, "OOOOOO:helpers", &self->immutable, &self->copied, &self->missing, &self->tally_error,
            &self->stored_key, &self->check_key);
}

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *names)
{
    static char *keywords[] = {"data", NULL};
    PyObject *data = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, names, "|O:Table", keywords, &data))
        return NULL;
    if (data != Py_None && !PyDict_Check(data))
        return PyErr_Format(PyExc_TypeError, "the data of a table is a dict, not %R", Py_TYPE(data));
    Table *self = (Table *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL)
        return NULL;
    self->data = data == Py_None ? PyDict_New() : Py_NewRef(data);
    self->changed = PySet_New(NULL);
    self->deleted = PySet_New(NULL);
    self->tallied = PyDict_New();
    self->removed = PyDict_New();
    self->listed = PyList_New(0);
    self->since_undo = PyDict_New();
    if (self->data == NULL || self->changed == NULL || self->deleted == NULL || self->tallied == NULL
        || self->removed == NULL || self->listed == NULL || self->since_undo == NULL || !take_helpers(self, type))
        Py_CLEAR(self);
    return (PyObject *)self;
}

/* There is no tp_clear, so that no method finds a member NULL. Each cycle has a dict or an exception, which have it. */
static int table_traverse(PyObject *object, visitproc visit, void *arg)
{
    Table *self = (Table *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->data);
    Py_VISIT(self->changed);
    Py_VISIT(self->deleted);
    Py_VISIT(self->tallied);
    Py_VISIT(self->undo);
    Py_VISIT(self->removed);
    Py_VISIT(self->listed);
    Py_VISIT(self->since_undo);
    Py_VISIT(self->broken);
    Py_VISIT(self->helpers);
    return 0;
}

static void table_dealloc(PyObject *object)
{
    Table *self = (Table *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(self->data);
    Py_XDECREF(self->changed);
    Py_XDECREF(self->deleted);
    Py_XDECREF(self->tallied);
    Py_XDECREF(self->undo);
    Py_XDECREF(self->removed);
    Py_XDECREF(self->listed);
    Py_XDECREF(self->since_undo);
    Py_XDECREF(self->broken);
    Py_XDECREF(self->helpers);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMemberDef table_members[] = {
    {"broken", T_OBJECT, offsetof(Table, broken), READONLY,
     "The error that left the table half changed; None for a sound table."},
    {NULL}
};
static PyGetSetDef table_getters[] = {
    {"is_changed", table_is_changed, NULL, "Whether `take_changed` would return any key.", NULL},
    {"touched", table_touched, NULL, "Number of changes since `begin_undo`: changed keys, and single tallies.", NULL},
    {NULL}
};
static PyMethodDef table_methods[] = {
    {"get", (PyCFunction)(void (*)(void))table_get, METH_FASTCALL | METH_KEYWORDS,
     "The value of a key, or `default`. A value that can change in place counts as changed."},
    {"keys", table_keys, METH_NOARGS, NULL},
    {"items", table_items, METH_NOARGS, NULL},
    {"values", table_values, METH_NOARGS, NULL},
    {"clear", table_clear, METH_NOARGS, NULL},
    {"update", (PyCFunction)(void (*)(void))table_update, METH_VARARGS | METH_KEYWORDS,
     "As `dict.update`. This is the fast way to change many keys at once."},
    {"tally", table_tally, METH_O,
     "As `State.tally`. Raises `TypeError` or `ValueError` for an invalid key; nothing is counted then."},
    {"begin_undo", table_begin_undo, METH_NOARGS,
     "Start recording for `undo`. Changes since an earlier call are kept, as by `end_undo`."},
    {"end_undo", table_end_undo, METH_NOARGS, "Stop recording, and keep the changes since `begin_undo`."},
    {"undo", table_undo, METH_NOARGS,
     "Restore the content at `begin_undo`, also of values that were changed in place."},
    {"add_tallies", table_add_tallies, METH_O,
     "Add the tallies of up to `most` keys to their values. Returns the number of keys left."},
    {"take_changed", table_take_changed, METH_NOARGS,
     "Returns the keys that changed since the last call, and the subset of them that were deleted at some time."},
    {"view", table_view, METH_NOARGS, "The data, for reading only. Nothing is marked as changed."},
    {"free", table_free, METH_O,
     "Remove up to `most` keys of a table that is no longer used, to free memory. Returns the number left."},
    {NULL}
};
static PyType_Slot table_slots[] = {
    {Py_tp_doc, "A dict that tracks changed keys, counts tallies separately, and can undo changes."},
    {Py_tp_new, table_new},
    {Py_tp_dealloc, table_dealloc},
    {Py_tp_traverse, table_traverse},
    {Py_tp_repr, table_repr},
    {Py_tp_iter, table_iter},
    {Py_tp_members, table_members},
    {Py_tp_methods, table_methods},
    {Py_tp_getset, table_getters},
    {Py_sq_contains, table_contains},
    {Py_mp_length, table_length},
    {Py_mp_subscript, table_subscript},
    {Py_mp_ass_subscript, table_assign},
    {0, NULL}
};
static PyType_Spec table_spec = {
    .name = "framework_speedups.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = table_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &table_spec, NULL);
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
    .m_name = "framework_speedups._table",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__table(void)
{
    return PyModuleDef_Init(&module_def);
}
