#compdef remanager
# Completion of 'remanager' in zsh, printed by 'remanager completion zsh'.

@TABLES@

_remanager() {
    local place=remanager word current=${words[CURRENT]} before=${words[CURRENT-1]} values
    local -a lines
    for word in ${words[2,CURRENT-1]}; do
        (( ${+_remanager_words[$place $word]} )) && place="$place $word"
    done
    if [[ $current == --*=* ]]; then
        before=${current%%=*}
        compset -P '*='
    fi
    values=${_remanager_values[$place $before]}
    case $values in
        (@file) _files; return ;;
        (@directory) _files -/; return ;;
        (@anything) _message value; return ;;
        (?*) compadd -- ${=values}; return ;;
    esac
    if [[ $current == -* ]]; then
        lines=("${(@f)_remanager_options[$place]}")
        _describe -t options option lines
        return
    fi
    lines=("${(@f)_remanager_words[$place]}")
    [[ -n ${lines[(r)@file]} ]] && _files
    lines=(${lines:#@file})
    (( $#lines )) && _describe -t commands command lines
}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _remanager "$@"
else
    compdef _remanager remanager
fi
