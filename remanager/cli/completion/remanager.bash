# Completion of 'remanager' in bash, printed by 'remanager completion bash'.

@TABLES@

_remanager() {
    local current=$2 before=$3 place=remanager i values words
    COMPREPLY=()
    # '--option=value' arrives as three words.
    if [[ $current == "=" ]]; then
        current=
    elif [[ $before == "=" ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${_remanager_words["$place ${COMP_WORDS[i]}"]+known} ]] && place="$place ${COMP_WORDS[i]}"
    done
    values=${_remanager_values["$place $before"]-}
    if [[ -z $values && $current == -* ]]; then
        values=${_remanager_options[$place]}
    elif [[ -z $values ]]; then
        values=${_remanager_words[$place]}
    fi
    words=" $values "
    if [[ $words == *" @file "* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ $words == *" @directory "* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
    fi
    for i in $values; do
        [[ $i != @* && $i == "$current"* ]] && COMPREPLY+=("$i")
    done
}

complete -F _remanager remanager
